"""History brought within its limits, and the database packed when nobody needs it."""

import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Row

from maejobs.home import Home
from maejobs.keep.history import (
    Limits,
    Part,
    PastRun,
    Removal,
    Use,
    bounds,
    plan_history,
    why_not_packed,
)
from maejobs.rundb.database import open_database
from maejobs.rundb.queries import job_rows, unfinished_runs
from maejobs.rundb.spool import spooled_runs
from maejobs.rundb.trimming import (
    delete_runs,
    delete_series,
    nth_newest,
    old_runs,
    pack,
    pages,
    runs_to_keep,
)


@dataclass
class HistoryReport:
    """What went, or, in a dry run, would go: how many runs of each job, for which reason."""

    runs: dict[str, dict[str, int]] = field(default_factory=dict)
    series: dict[str, int] = field(default_factory=dict)  # of how many runs
    packed: bool = False
    not_packed: str | None = None  # why
    dry_run: bool = False


def trim_history(
    home: Home,
    now: datetime,
    limits: Limits,
    next_due: datetime | None,
    quiet_for: timedelta,
    dry_run: bool = False,
    ourselves: str | None = None,
) -> HistoryReport:
    """Delete runs and series beyond `limits`, then pack the database if that is worth it.

    Packed only where no run but `ourselves` is under way and none is due within `quiet_for`.
    Raises DatabaseUnavailable.
    """
    report = HistoryReport(dry_run=dry_run)
    spooled = set(spooled_runs(home.spool_dir))
    with open_database(home) as engine:
        for job in job_rows(engine):
            _trim_job(engine, job, now, limits, spooled, report)
        under_way = [row.id for row in unfinished_runs(engine) if row.id != ourselves]
        report.not_packed = _why_not_packed(engine, now, Use(under_way, next_due), quiet_for)
        if report.not_packed is None and not dry_run:
            report.packed = pack(engine)
            report.not_packed = None if report.packed else "somebody is writing"
    return report


def _trim_job(
    engine: Engine,
    job: str,
    now: datetime,
    limits: Limits,
    spooled: Collection[str],
    report: HistoryReport,
) -> None:
    count = limits.runs_count
    found = bounds(now, limits, None if count is None else nth_newest(engine, job, count))
    if found.newest is None:
        return
    kept = runs_to_keep(engine, job) | dict.fromkeys(spooled, "its record is still spooled")
    for page in old_runs(engine, job, found.newest):
        removals = plan_history(now, [_past(row, kept.get(row.id)) for row in page], found)
        _count(job, removals, report)
        if not report.dry_run:
            _carry_out(engine, removals, Part.RUN, delete_runs)
            _carry_out(engine, removals, Part.SERIES, delete_series)


def _past(row: Row[Any], held: str | None) -> PastRun:
    if held is None and row.checkpoint_out and _is_there(row):
        held = "its checkpoint is still there"
    return PastRun(
        row.id, row.state, row.queued, row.slot, row.finished, bool(row.has_series), held
    )


def _is_there(row: Row[Any]) -> bool:
    try:
        return Path(row.directory, row.checkpoint_out).exists()
    except (OSError, ValueError):  # a path that a command told may be anything
        return False


def _carry_out(
    engine: Engine,
    removals: list[Removal],
    part: Part,
    remove: Callable[[Engine, list[str]], int],
) -> None:
    if ids := [removal.run for removal in removals if removal.part is part]:
        remove(engine, ids)


def _count(job: str, removals: list[Removal], report: HistoryReport) -> None:
    for removal in removals:
        if removal.part is Part.SERIES:
            report.series[job] = report.series.get(job, 0) + 1
        else:
            reasons = report.runs.setdefault(job, {})
            reasons[removal.reason] = reasons.get(removal.reason, 0) + 1


def _why_not_packed(engine: Engine, now: datetime, use: Use, quiet_for: timedelta) -> str | None:
    if engine.dialect.name != "sqlite":
        return "PostgreSQL does that itself"
    in_all, free, size = pages(engine)
    file = Path(str(engine.url.database))
    if shutil.disk_usage(file.parent).free < 2 * in_all * size:  # the copy, and the log of it
        return f"the disk of {file.parent} has no room for a copy"
    return why_not_packed(now, use, quiet_for, free, in_all)
