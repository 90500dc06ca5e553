"""Sets the record straight: spooled runs taken up, runs without a process lost, slots missed.

And the newest slot that nobody started is made up for, if its job asks for that.
"""

import logging
import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Row

from maejobs import clock
from maejobs.errors import MaejobsError
from maejobs.home import Home
from maejobs.launch.process import boot_id, host_name, is_alive
from maejobs.notify.hooks import after_reconcile
from maejobs.rundb.database import BUSY_TIMEOUT_SECONDS, hurried_database
from maejobs.rundb.directory import read_record, stopped_by
from maejobs.rundb.events import EVENTS_NAME, ended_well
from maejobs.rundb.ingest import ingest_directory
from maejobs.rundb.queries import job_rows, lost_runs, runs_by_id, unfinished_runs
from maejobs.rundb.record import SlotTaken, sum_up_again, write_run
from maejobs.rundb.run import (
    CANCELLED,
    CLOCKS_DIFFER,
    FINISHED,
    LOOK_BACK,
    LOST,
    SUCCEEDED,
    Run,
    run_of,
)
from maejobs.rundb.spool import spool_run, spooled_runs, take_up
from maejobs.watch.away import tell_of_database
from maejobs.watch.heartbeat import beat
from maejobs.watch.morning import digest_is_due
from maejobs.watch.renamed import was_here
from maejobs.watch.slots import Slots
from maejobs.watch.unrecorded import unrecorded_runs
from maejobs.watch.untold import untold_runs

EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)  # maejobs is younger
LONGEST_SECONDS = 60.0  # for the events of all runs: commands may have written any number
SECOND_LOOK = timedelta(days=7)  # how long a lost run may still turn out to have ended well
_log = logging.getLogger(__name__)


@dataclass
class Findings:
    """What a reconciliation changed, or, in a dry run, would change: names of runs."""

    taken_up: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    ended_well: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)


def reconcile(
    home: Home,
    dry_run: bool = False,
    busy_timeout: float = BUSY_TIMEOUT_SECONDS,
    catch_up: bool = True,
) -> Findings:
    """Bring the database in line with what is on this host. Raises DatabaseUnavailable.

    With `catch_up`, jobs that ask for it make up for the newest slot that nobody started.
    Whatever the database says, what waits in the outbox is sent on its way; and if it has been
    away for long, people are told of that. A clock that is not set yet, as at a start without a
    battery, judges nobody: all that has been would lie ahead, and be forgotten.
    """
    findings = Findings()
    if (now := clock.now()) < EARLIEST:
        _log.warning("the host's clock says %s: until it is set, nothing is judged", f"{now:%F}")
        return findings
    settled: list[Run] = []
    is_away = False
    try:
        settled = _reconcile(home, findings, dry_run, busy_timeout, catch_up)
    except MaejobsError:
        is_away = True
        settled = [] if dry_run else untold_runs(home, None)
        raise
    finally:
        if not dry_run:
            tell_of_database(home, is_away, clock.now())
            after_reconcile(home, settled, digest_is_due)
    return findings


def _reconcile(
    home: Home, findings: Findings, dry_run: bool, busy_timeout: float, catch_up: bool
) -> list[Run]:
    """Fill `findings`; the runs whose end nobody else will tell. Raises DatabaseUnavailable."""
    give_up = math.inf if dry_run else time.monotonic() + LONGEST_SECONDS
    signs = beat(home, clock.now(), LOOK_BACK, dry_run)
    with hurried_database(home, busy_timeout) as engine:
        findings.taken_up = (
            spooled_runs(home.spool_dir) if dry_run else take_up(engine, home.spool_dir, give_up)
        )
        _take_up_unrecorded(home, engine, findings, dry_run, give_up)
        lost = lost_runs(engine, clock.now() - SECOND_LOOK)
        for row in [*lost, *unfinished_runs(engine)]:
            _settle(home, engine, row, findings, dry_run, give_up)
        settled = [*findings.lost, *findings.ended_well, *findings.cancelled]
        if not dry_run:
            _forget_what_lies_ahead(engine)
        going_on = {row.job for row in unfinished_runs(engine) if row.id not in settled}
        slots = Slots(home, engine, signs, going_on, dry_run, catch_up).look()
        rows = runs_by_id(engine, settled).values() if settled else ()
        untold = [] if dry_run else untold_runs(home, engine)
        ended = {run.id: run for run in [*map(run_of, rows), *untold]}
    findings.missed, findings.unknown, findings.started = slots.missed, slots.unknown, slots.started
    return list(ended.values())


def _forget_what_lies_ahead(engine: Engine) -> None:
    """Until then a clock that was ahead would have the last word on a job, and nothing be late."""
    latest = clock.now() + CLOCKS_DIFFER
    for job, row in job_rows(engine).items():
        noted = (row.last_slot, row.last_started, row.last_finished, row.last_success)
        if any(at is not None and at > latest for at in noted):
            sum_up_again(engine, job)


def _take_up_unrecorded(
    home: Home, engine: Engine, findings: Findings, dry_run: bool, give_up: float
) -> None:
    """Give a row to each run that has but its directory; it is judged like any other then."""
    for run in unrecorded_runs(home, engine):
        if run.id in findings.taken_up:
            continue
        try:
            if dry_run or write_run(engine, run):
                findings.taken_up.append(run.id)
            if not dry_run:
                ingest_directory(engine, run.id, Path(run.directory), give_up)
                _leave_the_rest(home, run, give_up)
        except (OSError, SlotTaken) as error:
            _log.warning("%s is not taken up: %s", run.id, error)


def _settle(
    home: Home, engine: Engine, row: Row[Any], findings: Findings, dry_run: bool, give_up: float
) -> None:
    """Judge one unfinished run: alive, ended as itself says, stopped by somebody, or lost.

    One that was held to be lost is looked at again: its command may have lived on unseen. A run on
    another host is that host's to judge, unless it is this one by a name that it had before.
    """
    if row.host != host_name() and not was_here(home, run_of(row)):
        return
    same_boot = row.boot_id == boot_id()
    if same_boot and is_alive(row.supervisor_pid, row.supervisor_started):
        return
    stream = Path(row.directory) / EVENTS_NAME
    try:
        if not dry_run:
            ingest_directory(engine, row.id, stream.parent, give_up)
    except OSError as error:
        _log.warning("events of %s cannot be read: %s", row.id, error)
    if same_boot and is_alive(row.pid, row.pid_started):
        return
    told = read_record(Path(row.directory))
    if told and told.id == row.id and told.state in FINISHED:
        if dry_run or write_run(engine, told):
            findings.taken_up.append(told.id)
            _leave_the_rest(home, told, give_up)
        return
    run = run_of(row)
    run.finished = clock.now()
    if who := stopped_by(stream.parent):  # a good end that follows is what was asked for
        run.state, run.failure_class = CANCELLED, None
        run.reason = f"stopped by {who}"
        names = findings.cancelled
    elif ended_well(stream):
        run.state, run.failure_class = SUCCEEDED, None
        run.reason = "its supervisor was lost; the command reported a good end"
        names = findings.ended_well
    elif row.state == LOST:
        return
    else:
        run.state = run.failure_class = LOST
        run.reason = "the host restarted" if not same_boot else "its process is gone"
        names = findings.lost
    if dry_run or write_run(engine, run):
        names.append(run.id)
        _leave_the_rest(home, run, give_up)


def _leave_the_rest(home: Home, run: Run, give_up: float) -> None:
    """Where the time was up before all its events were taken up, the next call goes on.

    One that has not ended is its supervisor's to see to, or `_settle`'s.
    """
    if run.state in FINISHED and time.monotonic() >= give_up:
        try:
            spool_run(home.spool_dir, run)
        except OSError as error:
            _log.warning("events of %s are not taken up to the end: %s", run.id, error)
