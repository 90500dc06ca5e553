"""The named queries that the CLI and the dashboards share."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, Row, Select, func, literal, select

from maejobs.errors import UserError, quoted
from maejobs.rundb.database import reading
from maejobs.rundb.record import current_run
from maejobs.rundb.run import (
    LONGEST_RUN,
    LOST,
    NAME,
    SUCCEEDED,
    TIMED_OUT,
    UNFINISHED,
    WATCH_VERDICTS,
)
from maejobs.rundb.schema import Instant, checkpoints, events, jobs, metrics, runs

Rows = Sequence[Row[Any]]
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def job_rows(engine: Engine) -> dict[str, Row[Any]]:
    """Every job's row, with its denormalised last state, by name."""
    return {row.name: row for row in _all(engine, select(jobs))}


def newest_runs(
    engine: Engine,
    limit: int,
    job: str | None = None,
    state: str | None = None,
    until: datetime | None = None,
) -> Rows:
    """The newest runs, newest first; of one job, in one state, queued by `until`, if asked."""
    query = (
        select(runs)
        .order_by(runs.c.queued.desc(), runs.c.attempt.desc(), runs.c.id.desc())
        .limit(limit)
    )
    if job:
        query = query.where(runs.c.job == job)
    if state:
        query = query.where(runs.c.state == state)
    if until:
        query = query.where(runs.c.queued <= until)
    return _all(engine, query)


def runs_since(engine: Engine, job: str, since: datetime, until: datetime, limit: int) -> Rows:
    """The job's runs that have ended since then or go on, newest first, `limit` at the most.

    Of those that have ended only what was queued by `until`.
    """
    queued = (runs.c.queued >= since - LONGEST_RUN) & (runs.c.queued <= until)
    lately = queued & (runs.c.finished >= since)
    query = (
        select(runs)
        .where(runs.c.job == job, lately | runs.c.finished.is_(None))
        .order_by(runs.c.queued.desc(), runs.c.attempt.desc(), runs.c.id.desc())
        .limit(limit)
    )
    return _all(engine, query)


def find_run(engine: Engine, name: str) -> Row[Any]:
    """The run called `name`, or of the job `name` the run under way, else the newest.

    Raises UserError where there is neither.
    """
    found = None
    if NAME.fullmatch(name):
        with reading(engine) as connection:
            exact = connection.execute(select(runs).where(runs.c.id == name)).first()
            found = exact or current_run(connection, name)
    if found is None:
        raise UserError(f"no run and no job with runs is called {quoted(name)}; see `maejobs runs`")
    return found


def runs_by_id(engine: Engine, ids: Sequence[str]) -> dict[str, Row[Any]]:
    """The runs with these ids, by id."""
    return {row.id: row for row in _all(engine, select(runs).where(runs.c.id.in_(ids)))}


def states_of(engine: Engine, ids: Sequence[str]) -> dict[str, str]:
    """The state of each of these runs that has a row, by id."""
    query = select(runs.c.id, runs.c.state).where(runs.c.id.in_(ids))
    return {row.id: row.state for row in _all(engine, query)}


def unfinished_runs(engine: Engine) -> Rows:
    """Runs that are queued or running, oldest first."""
    query = (
        select(runs)
        .where(runs.c.finished.is_(None), runs.c.state.in_(UNFINISHED))
        .order_by(runs.c.queued)
    )
    return _all(engine, query)


def lost_runs(engine: Engine, since: datetime) -> Rows:
    """Runs queued after `since` that are held to be lost, oldest first."""
    query = select(runs).where(runs.c.queued > since, runs.c.state == LOST).order_by(runs.c.queued)
    return _all(engine, query)


def slots_with_runs(engine: Engine, job: str, since: datetime) -> set[datetime]:
    """The slots after `since` for which the job has a run in whatever state."""
    query = select(runs.c.slot).where(runs.c.job == job, runs.c.slot > since).distinct()
    return {row.slot for row in _all(engine, query)}


def newest_slot(engine: Engine, job: str, now: datetime) -> Row[Any] | None:
    """The last attempt at the newest slot that the job has a run for: slot, state.

    Slots to come, noted by a clock that was ahead, are left out.
    """
    query = (
        select(runs.c.slot, runs.c.state)
        .where(runs.c.job == job, runs.c.slot <= now)
        .order_by(runs.c.slot.desc(), runs.c.attempt.desc())
        .limit(1)
    )
    return next(iter(_all(engine, query)), None)


def supervised_times(engine: Engine, host: str, since: datetime, until: datetime) -> Rows:
    """When supervisors were at work on `host`: queued, finished (null: they still are).

    Of runs queued between `since` and `until`, but for those that nobody saw end.
    """
    query = select(runs.c.queued, runs.c.finished).where(
        runs.c.queued >= since,
        runs.c.queued <= until,
        runs.c.host == host,
        runs.c.state.not_in(WATCH_VERDICTS),
    )
    return _all(engine, query)


def measured_runs(engine: Engine, each: int = 50) -> Rows:
    """Of each job the newest `each` runs that tell how long it takes, newest first.

    Columns: job, state, outcome, started, finished, deadline. What succeeded or was stopped at its
    deadline tells it; what failed, was cancelled or got lost ended when it did by accident.
    """
    tells = (
        runs.c.job == jobs.c.name,
        runs.c.state.in_((SUCCEEDED, TIMED_OUT)),
        runs.c.started.is_not(None),
        runs.c.finished >= runs.c.started,  # the clock may have been set back
    )
    # Found by the index on (job, queued); a window function would read all of history.
    oldest = (
        select(runs.c.queued)
        .where(*tells)
        .order_by(runs.c.queued.desc())
        .limit(1)
        .offset(each - 1)
        .correlate(jobs)
        .scalar_subquery()
    )
    columns = ("job", "state", "outcome", "started", "finished", "deadline")
    query = (
        select(*(runs.c[name] for name in columns))
        .select_from(jobs, runs)
        .where(*tells, runs.c.queued >= func.coalesce(oldest, literal(LONG_AGO, Instant())))
        .order_by(jobs.c.name, runs.c.queued.desc())
    )
    return _all(engine, query)


def lengths_of_successes(engine: Engine, job: str, count: int, among: int = 200) -> list[float]:
    """How many seconds the job's newest `count` successes took, newest first.

    Only its newest `among` runs are looked at, so that it takes no longer however much has failed.
    """
    newest = (
        select(runs.c.state, runs.c.queued, runs.c.started, runs.c.finished)
        .where(runs.c.job == job)
        .order_by(runs.c.queued.desc())
        .limit(among)
        .subquery()
    )
    successes = (
        newest.c.state == SUCCEEDED,
        newest.c.started.is_not(None),
        newest.c.finished >= newest.c.started,
    )
    query = select(newest.c.started, newest.c.finished).where(*successes)
    found = _all(engine, query.order_by(newest.c.queued.desc()).limit(count))
    return [(row.finished - row.started).total_seconds() for row in found]


def last_checkpoint_bytes(engine: Engine, job: str, among: int = 200) -> int | None:
    """The size of the last checkpoint that the job has told of, in one of its newest runs."""
    newest = (
        select(runs.c.id, runs.c.queued)
        .where(runs.c.job == job)
        .order_by(runs.c.queued.desc())
        .limit(among)
        .subquery()
    )
    query = (
        select(checkpoints.c.bytes)
        .join(newest, checkpoints.c.run == newest.c.id)
        .where(checkpoints.c.bytes > 0)
        .order_by(newest.c.queued.desc(), checkpoints.c.offset.desc())
        .limit(1)
    )
    return next((row.bytes for row in _all(engine, query)), None)


def last_metrics(engine: Engine, run_id: str) -> Rows:
    """Each metric's last value in a run: name, step, value."""
    last = (
        select(metrics.c.name, func.max(metrics.c.offset).label("offset"))
        .where(metrics.c.run == run_id)
        .group_by(metrics.c.name)
        .subquery()
    )
    query = (
        select(metrics.c.name, metrics.c.step, metrics.c.value)
        .join(last, (metrics.c.name == last.c.name) & (metrics.c.offset == last.c.offset))
        .where(metrics.c.run == run_id)
        .order_by(metrics.c.name)
    )
    return _all(engine, query)


def checkpoints_of(engine: Engine, run_id: str) -> Rows:
    """The checkpoints that a run wrote, oldest first."""
    query = select(checkpoints).where(checkpoints.c.run == run_id).order_by(checkpoints.c.offset)
    return _all(engine, query)


def events_of(engine: Engine, run_id: str) -> Rows:
    """A run's other events (notes, artefacts, outcome, unknown ones), oldest first."""
    query = select(events).where(events.c.run == run_id).order_by(events.c.offset)
    return _all(engine, query)


def artifacts_of(engine: Engine, run_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """What these runs, some hundred at the most, told of their artefacts, newest first, by run."""
    query = (
        select(events.c.run, events.c.body)
        .where(events.c.run.in_(run_ids), events.c.kind == "artifact")
        .order_by(events.c.offset.desc())
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for row in _all(engine, query):
        found.setdefault(row.run, []).append(row.body)
    return found


def _all(engine: Engine, query: Select[Any]) -> Rows:
    with reading(engine) as connection:
        return connection.execute(query).all()
