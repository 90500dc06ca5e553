"""Reads what a digest tells; what cannot be read is told as such, and the rest all the same."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Engine

from maejobs import clock
from maejobs.digest.campaigns import backups, campaign_of, safety_of
from maejobs.digest.facts import MOST_LINES, Coming, Digest, Picture, RunFact, Safety
from maejobs.digest.pictures import read_picture
from maejobs.errors import MaejobsError
from maejobs.files import real_path
from maejobs.home import Home
from maejobs.launch.process import host_name
from maejobs.notify.judge import read_told
from maejobs.notify.outbox import waiting
from maejobs.rundb.database import hurried_database
from maejobs.rundb.queries import artifacts_of, job_rows, runs_since
from maejobs.rundb.run import CLOCKS_DIFFER
from maejobs.watch.outlook import outlook_of
from maejobs.watch.plan import Firing

PATIENCE_SECONDS = 5.0  # for a locked database
MOST_RUNS = 10_000  # of a job that are looked through; a minutely one has 4,320 in three days
MOST_PICTURES = 6
LONGEST_WHY = 500  # characters; what a command calls its outcome may be any text
AT_ONCE = 500  # runs that the database is asked about
NIGHT = timedelta(days=1)  # what a digest looks back, and ahead


class Told(NamedTuple):
    """What an earlier digest knew of what has ended `since` then: runs, each with its state."""

    since: datetime
    runs: frozenset[str]


def gather(home: Home, since: datetime, told: Told | None = None) -> Digest:
    """The digest of what has ended since then, and what comes within a day.

    Of what had ended before, what was not `told`: a slot may be found to be missed, and a record be
    taken up, long after. Raises UserError for more slots than can be looked through.
    """
    now, trouble = clock.now(), list[str]()
    rows: Sequence[Any] = ()
    pictures: list[Picture] = []
    runs_known = True
    try:
        with hurried_database(home, PATIENCE_SECONDS) as engine:
            rows = _runs_since(engine, min(since, told.since) if told else since)
            rows = [row for row in rows if told is None or _told(row) not in told.runs]
            pictures = _pictures(engine, rows)
    except MaejobsError as error:
        runs_known = False
        trouble.append(str(error))
    outlook, unread = outlook_of(home, 1, PATIENCE_SECONDS)
    safety = _safety(home, rows, trouble)
    return Digest(
        host_name(),
        since,
        now,
        outlook.zone,
        tuple(run_facts(rows)),
        tuple(safety),
        tuple(coming(outlook.firings)),
        tuple(problem.text for problem in outlook.problems),
        tuple(sorted(read_told(home))),
        sum(message.tries > 0 for message in waiting(home)),
        tuple(dict.fromkeys(trouble + unread)),
        tuple(pictures),
        runs_known,
        outlook.schedule_known,
    )


def coming(firings: Sequence[Firing]) -> list[Coming]:
    """What is told of these, given in order; of a job that comes often only the first. Pure."""
    times = Counter(firing.job.name for firing in firings)
    told: list[Coming] = []
    seen: set[str] = set()
    for firing in firings:
        name = firing.job.name
        often = times[name] > MOST_LINES
        if not (often and name in seen):
            told.append(Coming(name, firing.slot, firing.usual_end, times[name] if often else 1))
        seen.add(name)
    return told


def known_runs(home: Home, since: datetime) -> frozenset[str]:
    """What is known now of what has ended since then, for `Told`. Raises DatabaseUnavailable."""
    with hurried_database(home, PATIENCE_SECONDS) as engine:
        rows = _runs_since(engine, since)
    return frozenset(_told(row) for row in rows if row.finished is not None)


def _told(row: Any) -> str:
    return f"{row.id} {row.state}"


def run_facts(rows: Iterable[Any]) -> list[RunFact]:
    """What is told of runs, given newest first: by when they began, and of a slot the last try."""
    facts: dict[tuple[str, Any], RunFact] = {}
    tries: dict[tuple[str, Any], int] = {}
    for row in rows:
        key = (row.job, row.slot or row.id)
        tries[key] = tries.get(key, 0) + 1
        facts.setdefault(key, _fact(row))
    return [
        RunFact(**(vars(fact) | {"tries": tries[key]}))
        for key, fact in reversed(list(facts.items()))
    ]


def _fact(row: Any) -> RunFact:
    why = ": ".join(part for part in (row.outcome, row.reason) if part)
    return RunFact(
        row.id,
        row.job,
        row.state,
        " ".join(why.split())[:LONGEST_WHY],
        row.slot,
        row.started,
        row.finished,
        row.step,
        row.total_steps,
        1,
    )


def _runs_since(engine: Engine, since: datetime) -> list[Any]:
    """Newest first. Job by job: what runs each minute must not hide what runs each night.

    Nor must what a clock noted that was ahead, which would be the newest for years.
    """
    until = clock.now() + CLOCKS_DIFFER
    found = [
        row for job in job_rows(engine) for row in runs_since(engine, job, since, until, MOST_RUNS)
    ]
    return sorted(found, key=lambda row: (row.queued, row.attempt, row.id), reverse=True)


def _safety(home: Home, rows: Iterable[Any], trouble: list[str]) -> list[Safety]:
    """Of each campaign that a run of the night wrote a checkpoint of, or went on from.

    One for each place that it is copied to.
    """
    paths = [path for row in rows for path in (row.checkpoint_out, row.checkpoint_in) if path]
    campaigns = {campaign for path in paths if (campaign := campaign_of(path))}
    copied_to = backups(home)
    found = []
    for campaign in sorted(campaigns):
        try:
            places: Sequence[Path | None] = copied_to.get(real_path(campaign)) or [None]
            found += [safety_of(campaign, place) for place in places]
        except (MaejobsError, OSError) as error:
            trouble.append(str(error))
    return found


def _pictures(engine: Engine, rows: Sequence[Any]) -> list[Picture]:
    """The newest picture of each name, of each job."""
    found: dict[tuple[str, str], Picture] = {}
    for begin in range(0, len(rows), AT_ONCE):
        some = rows[begin : begin + AT_ONCE]
        artifacts = artifacts_of(engine, [row.id for row in some])
        for row in some:
            for body in artifacts.get(row.id, ()):
                _take_picture(row, body, found)
                if len(found) == MOST_PICTURES:
                    return list(found.values())
    return list(found.values())


def _take_picture(row: Any, body: dict[str, Any], found: dict[tuple[str, str], Picture]) -> None:
    name, path = body.get("name"), body.get("path")
    if not isinstance(name, str) or not isinstance(path, str) or (row.job, name) in found:
        return
    data = read_picture(Path(row.directory) / path)
    if data is not None:
        found[row.job, name] = Picture(row.id, name, data)
