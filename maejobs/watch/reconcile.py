"""Sets the record straight: spooled runs taken up, runs without a process lost, slots missed."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Row

from maejobs import clock
from maejobs.cron.dialect import dialect_of
from maejobs.cron.fires import host_zone, next_fire
from maejobs.cron.grammar import Expression, parse_expression
from maejobs.cron.schedule import entries_of
from maejobs.cron.target import open_target
from maejobs.errors import MaejobsError
from maejobs.home import Home
from maejobs.jobs.load import load_job
from maejobs.jobs.model import Job
from maejobs.launch.process import boot_id, host_name, is_alive
from maejobs.rundb.database import BUSY_TIMEOUT_SECONDS, open_database
from maejobs.rundb.events import EVENTS_NAME, ended_well
from maejobs.rundb.ingest import ingest
from maejobs.rundb.queries import job_rows, lost_runs, slots_with_runs, unfinished_runs
from maejobs.rundb.record import SlotTaken, set_job, write_run
from maejobs.rundb.run import LOST, MISSED, SUCCEEDED, Run, run_name
from maejobs.rundb.spool import spooled_runs, take_up
from maejobs.watch.missed import missed_slots

LATE_AFTER = timedelta(minutes=10)  # for jobs whose file cannot be read
SECOND_LOOK = timedelta(days=7)  # how long a lost run may still turn out to have ended well
LOOK_BACK = timedelta(days=30)
_log = logging.getLogger(__name__)


@dataclass
class Findings:
    """What a reconciliation changed, or, in a dry run, would change: names of runs."""

    taken_up: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    ended_well: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


def reconcile(
    home: Home, dry_run: bool = False, busy_timeout: float = BUSY_TIMEOUT_SECONDS
) -> Findings:
    """Bring the database in line with what is on this host. Raises DatabaseUnavailable."""
    findings = Findings()
    with open_database(home, busy_timeout) as engine:
        findings.taken_up = (
            spooled_runs(home.spool_dir) if dry_run else take_up(engine, home.spool_dir)
        )
        lost = lost_runs(engine, clock.now() - SECOND_LOOK)
        for row in [*lost, *unfinished_runs(engine)]:
            _settle(engine, row, findings, dry_run)
        _note_missed(home, engine, findings, dry_run)
    return findings


def _settle(engine: Engine, row: Row[Any], findings: Findings, dry_run: bool) -> None:
    """Judge one unfinished run: alive, ended well by its own word, or lost.

    One that was held to be lost is looked at again: its command may have lived on unseen. A run on
    another host is that host's to judge.
    """
    if row.host != host_name():
        return
    same_boot = row.boot_id == boot_id()
    if same_boot and is_alive(row.supervisor_pid, row.supervisor_started):
        return
    stream = Path(row.directory) / EVENTS_NAME
    try:
        if not dry_run:
            ingest(engine, row.id, stream)
    except OSError as error:
        _log.warning("events of %s cannot be read: %s", row.id, error)
    if same_boot and is_alive(row.pid, row.pid_started):
        return
    run = Run(
        **{name: getattr(row, name) for name in Run.__dataclass_fields__},
    )
    run.finished = clock.now()
    if ended_well(stream):
        run.state = SUCCEEDED
        run.reason = "its supervisor was lost; the command reported a good end"
        names = findings.ended_well
    elif row.state == LOST:
        return
    else:
        run.state = LOST
        run.reason = "the host restarted" if not same_boot else "its process is gone"
        names = findings.lost
    if dry_run or write_run(engine, run):
        names.append(run.id)


def _note_missed(home: Home, engine: Engine, findings: Findings, dry_run: bool) -> None:
    try:
        entries = entries_of(open_target(home.crontab), home)
    except MaejobsError as error:
        _log.warning("missed slots not looked for: %s", error)
        return
    now, zone, rows = clock.now(), host_zone(), job_rows(engine)
    jobs = {entry.job for entry in entries}
    note: Callable[..., None] = _ignore if dry_run else partial(set_job, engine)
    for job in rows.keys() - jobs:
        if rows[job].schedule is not None:  # its line was deleted by hand
            note(job, schedule=None, scheduled_since=None, checked_until=None)
    for job in sorted(jobs):
        texts = [entry.expression for entry in entries if entry.job == job]
        schedule = "\n".join(texts)
        try:
            expressions = [parse_expression(text, dialect_of(home)) for text in texts]
        except MaejobsError as error:
            _log.warning("missed slots of %s not looked for: %s", job, error)
            continue
        row = rows.get(job)
        if row is None or row.schedule != schedule:
            note(job, schedule=schedule, scheduled_since=now, checked_until=now)
            continue
        since = max(row.checked_until or row.scheduled_since or now, now - LOOK_BACK)
        file = _job_file(home, job)
        late_after = file.late_after if file else LATE_AFTER
        slots = missed_slots(
            now,
            since,
            late_after,
            partial(_next_of, expressions, zone),
            slots_with_runs(engine, job, since),
        )
        findings.missed += [
            run.id
            for run in (_missed_run(home, job, slot) for slot in slots)
            if dry_run or _write_missed(engine, run)
        ]
        summary = file.summary if file else row.summary
        note(job, checked_until=max(since, now - late_after), summary=summary)


def _ignore(_job: str, **_values: object) -> None:
    return


def _next_of(expressions: Iterable[Expression], zone: tzinfo, after: datetime) -> datetime | None:
    fires = [next_fire(expression, after, zone) for expression in expressions]
    return min((fire for fire in fires if fire is not None), default=None)


def _job_file(home: Home, job: str) -> Job | None:
    try:
        return load_job(home.jobs_dir, job)
    except MaejobsError:
        return None


def _missed_run(home: Home, job: str, slot: datetime) -> Run:
    name = run_name(job, slot, 1)
    return Run(
        id=name,
        job=job,
        trigger="cron",
        attempt=1,
        slot=slot,
        state=MISSED,
        reason="no run was started for this slot",
        queued=slot,
        finished=slot,
        host=host_name(),
        directory=str(home.runs_dir / job / name),
    )


def _write_missed(engine: Engine, run: Run) -> bool:
    try:
        return write_run(engine, run)
    except SlotTaken:
        return False
