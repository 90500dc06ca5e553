"""Slots that nobody started: noted as missed or unknown, and the newest made up for."""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from functools import partial
from typing import Any

from sqlalchemy import Engine, Row

from maejobs import clock
from maejobs.cron.block import Entry, read_entries
from maejobs.cron.dialect import dialect_of
from maejobs.cron.fires import next_fire, scheduling_zone
from maejobs.cron.grammar import Expression, parse_expression
from maejobs.cron.schedule import belongs_to, is_reconcile
from maejobs.cron.target import open_target
from maejobs.cron.zone import schedule_zone
from maejobs.errors import MaejobsError
from maejobs.home import Home
from maejobs.jobs.load import load_job
from maejobs.jobs.model import Job
from maejobs.launch.detached import start_detached
from maejobs.launch.process import booted, host_name
from maejobs.privilege import ourselves, owner_of
from maejobs.rundb.queries import job_rows, newest_slot, slots_with_runs, supervised_times
from maejobs.rundb.record import SlotTaken, set_job, write_run
from maejobs.rundb.run import (
    LONGEST_RUN,
    LOOK_BACK,
    MISSED,
    SLOT_FORMAT,
    UNKNOWN,
    Run,
    run_name,
)
from maejobs.watch.catch_up import Newest, is_caught_up
from maejobs.watch.missed import missed_slots
from maejobs.watch.presence import ONE_MINUTE, Span, joined, was_there

LATE_AFTER = timedelta(minutes=10)  # for jobs whose file cannot be read
REASONS = {
    MISSED: "no run was started for this slot",
    UNKNOWN: "maejobs was not there: the host was off, the home away, or cron stopped",
}
_log = logging.getLogger(__name__)


@dataclass
class SlotFindings:
    """Names of runs: of slots that nobody started, and of those that are now started for some."""

    missed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)


class Slots:
    """One look at the slots of every job in the home's crontab.

    `signs` tell when reconcile ran, `going_on` are jobs with a run under way. Nothing is written or
    started in a dry run; nothing is started where `catch_up` is false.
    """

    def __init__(
        self,
        home: Home,
        engine: Engine,
        signs: Sequence[Span],
        going_on: Collection[str],
        dry_run: bool,
        catch_up: bool,
    ) -> None:
        self._home = home
        self._engine = engine
        self._signs = signs
        self._going_on = going_on
        self._dry_run = dry_run
        # Root would run somebody else's job as root.
        self._catch_up = catch_up and owner_of(home.root).uid == ourselves().uid
        self._now = clock.now()
        self._zone = scheduling_zone()
        self._watched = False
        self._findings = SlotFindings()

    def look(self) -> SlotFindings:
        """Note what is to be noted, start what is to be started; what that was, or would be."""
        try:
            table = open_target(self._home.crontab).read() or b""
            found = read_entries(table)
            self._zone = schedule_zone(self._home, table)
        except MaejobsError as error:
            _log.warning("missed slots not looked for: %s", error)
            return self._findings
        entries = [entry for entry in found if belongs_to(entry, self._home)]
        self._watched = any(is_reconcile(entry, self._home) for entry in found)
        rows = job_rows(self._engine)
        jobs = {entry.job for entry in entries}
        for job in rows.keys() - jobs:
            if rows[job].schedule is not None:  # its line was deleted by hand
                self._note(job, schedule=None, scheduled_since=None, checked_until=None)
        for job in sorted(jobs):
            self._look_at(job, [e for e in entries if e.job == job], rows.get(job))
        return self._findings

    def _look_at(self, job: str, entries: Sequence[Entry], row: Row[Any] | None) -> None:
        texts = [entry.expression for entry in entries]
        schedule, now = "\n".join(texts), self._now
        try:
            expressions = [parse_expression(text, dialect_of(self._home)) for text in texts]
        except MaejobsError as error:
            _log.warning("missed slots of %s not looked for: %s", job, error)
            return
        if row is None or row.schedule != schedule:
            self._note(job, schedule=schedule, scheduled_since=now, checked_until=now)
            return
        since = max(row.checked_until or row.scheduled_since or now, now - LOOK_BACK)
        since = min(since, now)  # later: it was noted by a clock that was ahead
        file = job_file(self._home, job)
        late_after = file.late_after if file else LATE_AFTER
        next_slot = partial(_next_of, expressions, self._zone)
        started = slots_with_runs(self._engine, job, since)
        slots = missed_slots(now, since, late_after, next_slot, started)
        self._note_slots(job, slots)
        summary = file.summary if file else row.summary
        checked, scheduled = max(since, now - late_after), min(row.scheduled_since or now, now)
        self._note(job, checked_until=checked, scheduled_since=scheduled, summary=summary)
        if self._catch_up and file and file.catch_up != "none":
            self._make_up(file, row, slots, next_slot)

    def _note_slots(self, job: str, slots: Sequence[datetime]) -> None:
        if not slots:
            return
        signs, boot = self._signs_around(slots), booted()
        for slot in slots:
            there = was_there(slot, signs, self._now, boot, self._watched)
            run = _never_run(self._home, job, slot, MISSED if there else UNKNOWN)
            if self._dry_run or _write(self._engine, run):
                names = self._findings.missed if there else self._findings.unknown
                names.append(run.id)

    def _signs_around(self, slots: Sequence[datetime]) -> list[Span]:
        """Those of reconcile, and the runs that were under way."""
        since = slots[0] - LONGEST_RUN
        runs = supervised_times(self._engine, host_name(), since, slots[-1] + ONE_MINUTE)
        spans = [Span(run.queued, run.finished or self._now) for run in runs]
        return joined([*self._signs, *spans])

    def _make_up(
        self,
        job: Job,
        row: Row[Any],
        missed: Sequence[datetime],
        next_slot: Callable[[datetime], datetime | None],
    ) -> None:
        """Start a run for the job's newest slot, if it never had one and is still to have it."""
        stored = newest_slot(self._engine, job.name, self._now)
        slot, state = (stored.slot, stored.state) if stored else (None, MISSED)
        if missed and (slot is None or slot < missed[-1]):  # a dry run has not stored it
            slot, state = missed[-1], MISSED
        if slot is None:
            return
        held = job.name in self._going_on or row.paused_since is not None
        newest = Newest(slot, state, next_slot(slot), row.last_success, held)
        if not is_caught_up(job, newest, self._now, self._zone):
            return
        text = slot.strftime(SLOT_FORMAT)
        command = ["exec", job.name, "--slot", text, "--home", str(self._home.root)]
        try:
            if not self._dry_run:
                start_detached(command)
        except OSError as error:
            _log.warning("%s is not caught up with: %s", job.name, error)
            return
        self._findings.started.append(run_name(job.name, slot, 1))

    def _note(self, job: str, **values: Any) -> None:
        if not self._dry_run:
            set_job(self._engine, job, **values)


def _next_of(expressions: Iterable[Expression], zone: tzinfo, after: datetime) -> datetime | None:
    fires = [next_fire(expression, after, zone) for expression in expressions]
    return min((fire for fire in fires if fire is not None), default=None)


def job_file(home: Home, job: str) -> Job | None:
    """The job as its file describes it; None where that cannot be read."""
    try:
        return load_job(home.jobs_dir, job)
    except MaejobsError:
        return None


def _never_run(home: Home, job: str, slot: datetime, state: str) -> Run:
    name = run_name(job, slot, 1)
    return Run(
        id=name,
        job=job,
        trigger="cron",
        attempt=1,
        slot=slot,
        state=state,
        reason=REASONS[state],
        queued=slot,
        finished=slot,
        host=host_name(),
        directory=str(home.runs_dir / job / name),
    )


def _write(engine: Engine, run: Run) -> bool:
    try:
        return write_run(engine, run)
    except SlotTaken:
        return False
