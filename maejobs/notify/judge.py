"""Looks whether a job has turned bad or well, and puts what is to be told into the outbox."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from maejobs.cron.zone import zone_of_slots
from maejobs.errors import MaejobsError
from maejobs.files import make_private_directory, write_atomically
from maejobs.home import Home
from maejobs.jobs.load import job_names, load_job
from maejobs.jobs.model import Notify
from maejobs.launch.process import boot_id, is_alive
from maejobs.notify import outbox
from maejobs.notify.alerts import Change, change_of, message_of, outcomes, still_bad
from maejobs.rundb.database import hurried_database
from maejobs.rundb.queries import job_rows, newest_runs
from maejobs.rundb.run import CLOCKS_DIFFER, FAILED, SKIPPED, Run

PATIENCE_SECONDS = 30.0  # for a locked database: nobody waits for this
TRIES_EACH = 20  # runs that are looked at for each slot that counts, for retries and skipped ones
_log = logging.getLogger(__name__)


class History(NamedTuple):
    """A job, its rules, and its runs, newest first."""

    job: str
    rules: Notify
    runs: Sequence[Any]


def judge(
    home: Home, now: datetime, patience: float = PATIENCE_SECONDS, dry_run: bool = False
) -> list[Change]:
    """What is to be told now, put into the outbox. Call it with the outbox's lock held.

    `patience`: seconds for a locked database; a dry run puts nothing and needs no lock.
    What cannot be kept on a full disk is told by a later call, once it can be: told without a note
    of it, it would be told every five minutes. Of a job that is no more nothing is kept.
    """
    settled = set(_settled(home))
    told = read_told(home)
    if not dry_run and (gone := gone_jobs(home, patience)):
        told -= gone
        _write_told(home, told)
    changes = []
    for job, rules, runs in _histories(home, now + CLOCKS_DIFFER, patience):
        past = outcomes(runs, lambda run: _is_settled(run, settled))
        if change := change_of(job, past, rules, job in told, now):
            changes.append(change)
    if dry_run:
        return changes
    for change in changes:
        message = message_of(change, now, zone_of_slots(home))
        outbox.put(home, message)
        told = still_bad(told, change)
        try:
            _write_told(home, told)
        except OSError:
            outbox.remove(home, message)
            raise
    for run in settled:
        with suppress(OSError):
            (home.notify_dir / "ended" / run).unlink(missing_ok=True)
    return changes


def settle(home: Home, run: str) -> None:
    """Say, before its supervisor has ended, that the run is not tried again. Raises OSError."""
    (make_private_directory(home.notify_dir / "ended") / run).touch(0o600)


def read_told(home: Home) -> set[str]:
    """The jobs of which it was told last that they are bad."""
    try:
        names = json.loads((home.notify_dir / "told.json").read_bytes())["bad"]
        return {name for name in names if isinstance(name, str)}
    except (OSError, ValueError, TypeError, KeyError):
        return set()


def gone_jobs(home: Home, patience: float) -> set[str]:
    """The jobs of which it was told last that they are bad, and that are no more.

    None while the database is away: a job without a file may have a schedule.
    """
    told = read_told(home) - set(job_names(home.jobs_dir))
    if not told:
        return told
    try:
        with hurried_database(home, patience) as engine:
            rows = job_rows(engine)
    except MaejobsError:
        return set()
    return {job for job in told if job not in rows or rows[job].schedule is None}


def untell(home: Home, job: str) -> None:
    """The job's alert has reached nobody: it is to be told again if the job still is bad.

    Raises OSError.
    """
    told = read_told(home)
    if job in told:
        _write_told(home, told - {job})


def _write_told(home: Home, told: set[str]) -> None:
    text = json.dumps({"bad": sorted(told)})
    write_atomically(home.notify_dir / "told.json", text.encode())


def _settled(home: Home) -> list[str]:
    try:
        return [path.name for path in (home.notify_dir / "ended").iterdir()]
    except OSError:
        return []


def _is_settled(row: Any, settled: set[str]) -> bool:
    """Whether nobody is left who may try a run again that failed, or that a gate skipped."""
    if row.state not in (FAILED, SKIPPED) or row.id in settled or row.boot_id != boot_id():
        return True
    return not is_alive(row.supervisor_pid, row.supervisor_started)


def _histories(home: Home, until: datetime, patience: float) -> list[History]:
    """Each job that has a file or a schedule, with its rules and runs, newest first.

    What was queued later than `until`, by a clock that was ahead, would hide what is true now.
    """
    files = set(job_names(home.jobs_dir))
    found = []
    try:
        with hurried_database(home, patience) as engine:
            rows = job_rows(engine)
            for job in sorted(rows):
                if job in files or rows[job].schedule is not None:
                    rules = rules_of(home, job)
                    limit = TRIES_EACH * (rules.alert_after + 1)
                    found.append(History(job, rules, newest_runs(engine, limit, job, until=until)))
    except MaejobsError as error:
        _log.debug("judged by the spooled records only: %s", error)
        return _spooled(home)
    return found


def _spooled(home: Home) -> list[History]:
    """The same by the records that wait for the database: a night without one has its alerts."""
    newest_first = sorted(_records(home), key=lambda run: (run.queued, run.attempt), reverse=True)
    return [
        History(job, rules_of(home, job), [run for run in newest_first if run.job == job])
        for job in sorted({run.job for run in newest_first})
    ]


def _records(home: Home) -> Iterator[Run]:
    for path in home.spool_dir.glob("*.json"):
        with suppress(OSError, ValueError):
            yield Run.from_json(path.read_text(encoding="utf-8"))


def rules_of(home: Home, job: str) -> Notify:
    """The job's table `notify`; the defaults where its file cannot be read."""
    try:
        return load_job(home.jobs_dir, job).notify
    except MaejobsError:
        return Notify()
