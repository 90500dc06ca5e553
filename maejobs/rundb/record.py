"""Writes runs: inserted once, changed by compare-and-set, and summed up on their job's row."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from maejobs import clock
from maejobs.errors import MaejobsError
from maejobs.rundb.run import (
    CLOCKS_DIFFER,
    NEVER_CALLED,
    PREDECESSORS,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    UNFINISHED,
    WATCH_VERDICTS,
    Run,
)
from maejobs.rundb.schema import jobs, runs

_NEVER_OVERWRITTEN = frozenset({"id", "job", "slot", "attempt", "trigger"})


class SlotTaken(MaejobsError):
    """Another run has this job, slot and attempt already."""


def write_run(engine: Engine, run: Run) -> bool:
    """Bring the run's row to what `run` says; insert it if it is not there.

    Returns False, writing nothing, where the row's state does not allow it: somebody else's
    verdict stands. Raises SlotTaken for a second run of one (job, slot, attempt).
    """
    with engine.begin() as connection:
        ensure_job(connection, run.job)
        stored = connection.execute(select(runs.c.state).where(runs.c.id == run.id)).scalar()
        if stored is None:
            _insert(connection, run)
        elif not _update(connection, run, stored):
            return False
        _sum_up(connection, run)
        return True


def ensure_job(connection: Connection, name: str) -> None:
    """Make sure the job has a row."""
    if connection.execute(select(jobs.c.name).where(jobs.c.name == name)).scalar() is None:
        connection.execute(insert(jobs).values(name=name, summary=""))


def set_job(engine: Engine, name: str, **values: Any) -> None:
    """Set columns of the job's row, making the row if need be."""
    with engine.begin() as connection:
        ensure_job(connection, name)
        connection.execute(update(jobs).where(jobs.c.name == name).values(**values))


def _insert(connection: Connection, run: Run) -> None:
    try:
        connection.execute(insert(runs).values(**asdict(run), events_offset=0, broken_events=0))
    except IntegrityError as error:
        raise SlotTaken(
            f"{run.job} has a run for slot {_minute(run.slot)}, attempt {run.attempt}"
        ) from error


def _update(connection: Connection, run: Run, stored: str) -> bool:
    values = {
        name: value
        for name, value in asdict(run).items()
        # What the event stream told (an outcome) is not unsaid by a record that does not know it.
        if name not in _NEVER_OVERWRITTEN and value is not None
    }
    if run.state in UNFINISHED:
        values["finished"] = None
    if stored in WATCH_VERDICTS:
        # Those of a verdict that came too early do not stand.
        values |= {"reason": run.reason, "failure_class": run.failure_class}
    if stored in NEVER_CALLED:
        values["trigger"] = run.trigger  # nobody had called
    allowed = PREDECESSORS.get(run.state, frozenset())
    if run.state not in WATCH_VERDICTS:  # a verdict is passed, and told, once
        allowed |= {run.state}
    may_change = [runs.c.id == run.id, runs.c.state.in_(allowed)]
    if run.state == QUEUED:  # another home's, on another host maybe, waits for its turn already
        is_ours = and_(runs.c.host == run.host, runs.c.directory == run.directory)
        may_change.append(or_(runs.c.state != QUEUED, is_ours))
    changed = connection.execute(update(runs).where(*may_change).values(**values))
    return changed.rowcount == 1


def current_run(connection: Connection, job: str) -> Row[Any] | None:
    """The job's run under way, else its newest: a call that was skipped meanwhile hides neither.

    Nor does a run that a clock noted which was ahead, once the clock is right and there is another.
    """
    newest = (
        select(runs)
        .where(runs.c.job == job)
        .order_by(runs.c.queued.desc(), runs.c.attempt.desc(), runs.c.id.desc())
        .limit(1)
    )
    under_way = newest.where(runs.c.finished.is_(None), runs.c.state == RUNNING)
    has_come = newest.where(runs.c.queued <= clock.now() + CLOCKS_DIFFER)
    for query in (under_way, has_come, newest):
        if found := connection.execute(query).first():
            return found
    return None


def sum_up_again(engine: Engine, job: str) -> None:
    """Tell on the job's row what is true now: it was noted by a clock that was ahead.

    The runs' own rows stay as they are.
    """
    latest = clock.now() + CLOCKS_DIFFER
    of_job, succeeded = runs.c.job == job, runs.c.state == SUCCEEDED
    slot = select(func.max(runs.c.slot)).where(of_job, runs.c.slot <= latest)
    success = select(func.max(runs.c.finished)).where(of_job, succeeded, runs.c.finished <= latest)
    values = {"last_slot": slot.scalar_subquery(), "last_success": success.scalar_subquery()}
    with engine.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.name == job).values(**values))
        _tell_last_run(connection, job)


def _tell_last_run(connection: Connection, job: str) -> None:
    if current := current_run(connection, job):
        connection.execute(
            update(jobs)
            .where(jobs.c.name == job)
            .values(
                last_run=current.id,
                last_state=current.state,
                last_reason=current.reason,
                last_outcome=current.outcome,
                last_started=current.started,
                last_finished=current.finished,
            )
        )


def _sum_up(connection: Connection, run: Run) -> None:
    _tell_last_run(connection, run.job)
    job = update(jobs).where(jobs.c.name == run.job)
    if run.slot:  # a run by hand after it does not make the slot look missed
        is_newer = or_(jobs.c.last_slot.is_(None), jobs.c.last_slot < run.slot)
        connection.execute(job.where(is_newer).values(last_slot=run.slot))
    if run.state == SUCCEEDED and run.finished:  # maybe of an older night, only now taken up
        is_newer = or_(jobs.c.last_success.is_(None), jobs.c.last_success < run.finished)
        connection.execute(job.where(is_newer).values(last_success=run.finished))


def _minute(slot: datetime | None) -> str:
    return f"{slot:%Y-%m-%d %H:%M} UTC" if slot else "none"
