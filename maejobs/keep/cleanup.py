"""Logs of past runs bounded by age and size; a running run's files are out of reach.

runs/<job>/<run id>/…     one directory a run; it goes as a whole or stays as a whole
"""

import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from maejobs.errors import MaejobsError, UserError
from maejobs.keep.checkpoint import STEP_NAME
from maejobs.keep.lock import hold
from maejobs.keep.trash import erase, set_aside, sweep
from maejobs.rundb.run import CLOCKS_DIFFER


@dataclass(frozen=True)
class RunDirectory:
    """What the decision needs to know of one. `held` says why it stays in any case; None: free."""

    path: Path
    job: str
    bytes: int
    newest: datetime  # when the last of its files was written
    held: str | None = None


@dataclass(frozen=True)
class Removal:
    path: Path
    bytes: int
    reason: str


@dataclass(frozen=True)
class CleanupReport:
    """What went, or, in a dry run, what would go; `kept_bytes` is what the rest still takes."""

    removed: list[Removal]
    kept: int
    kept_bytes: int
    freed: int
    dry_run: bool = False
    undeleted: tuple[str, ...] = ()  # what is out of the way and could not be deleted, a line each


def clean_up(
    runs_dir: Path,
    now: datetime,
    max_age_days: float | None,
    max_bytes: int | None,
    is_active: Callable[[Path], bool],
    dry_run: bool = False,
    protected: Collection[str] = (),
    max_count: int | None = None,
) -> CleanupReport:
    """Delete run directories too old, those beyond each job's newest `max_count`, and then the
    oldest until at most `max_bytes` are left.

    Never one that `is_active`, one whose run id is `protected`, each job's newest, or one that
    holds checkpoints. Links are neither followed nor deleted. None: no such limit.

    Raises UserError for a negative limit.
    """
    runs = read_runs(runs_dir, is_active, protected)
    removals = plan_cleanup(runs, now, max_age_days, max_bytes, max_count)
    undeleted: tuple[str, ...] = ()
    if removals and not dry_run:
        removals, undeleted = _carry_out(runs_dir, removals, is_active)
    freed = sum(removal.bytes for removal in removals)
    kept_bytes = sum(run.bytes for run in runs) - freed
    kept = len(runs) - len(removals)
    return CleanupReport(removals, kept, kept_bytes, freed, dry_run, undeleted)


def plan_cleanup(
    runs: Sequence[RunDirectory],
    now: datetime,
    max_age_days: float | None,
    max_bytes: int | None,
    max_count: int | None = None,
) -> list[Removal]:
    """Decide what goes, oldest first: past its age, beyond its job's number, over the size.

    What a clock wrote that was ahead goes first, or it would take the places of all that comes.
    Raises UserError for a negative limit: a limit that is not understood deletes nothing.
    """
    if (max_age_days or 0) < 0 or min(max_bytes or 0, max_count or 0) < 0:
        raise UserError("a limit of age, number or size cannot be negative")
    latest = now + CLOCKS_DIFFER
    oldest_first = sorted(runs, key=lambda run: (run.newest <= latest, run.newest, run.path.name))
    newest_of_job = {run.job: run.path for run in oldest_first}
    rank: dict[Path, int] = {}  # among its job's, the newest is 0
    of_job: Counter[str] = Counter()
    for run in reversed(oldest_first):
        rank[run.path] = of_job[run.job]
        of_job[run.job] += 1
    total = sum(run.bytes for run in runs)
    removals = []
    free = [run for run in oldest_first if not run.held and newest_of_job[run.job] != run.path]
    for run in free:
        age = now - run.newest
        if max_age_days is not None and age > timedelta(days=max_age_days):
            reason = f"{age.days} days old"
        elif max_count is not None and rank[run.path] >= max_count:
            reason = f"not of the newest {max_count} of its job"
        elif max_bytes is not None and total > max_bytes:
            reason = f"all runs together take more than {max_bytes} bytes"
        else:
            continue
        removals.append(Removal(run.path, run.bytes, reason))
        total -= run.bytes
    return removals


def read_runs(
    runs_dir: Path, is_active: Callable[[Path], bool], protected: Collection[str] = ()
) -> list[RunDirectory]:
    """Every run directory below `runs_dir`, measured; none where there is no such directory."""
    found = []
    for job in _directories(runs_dir):
        for path in _directories(job):
            with suppress(FileNotFoundError):  # another clean-up was quicker
                found.append(_measure(path, job.name, is_active(path), path.name in protected))
    return found


def _carry_out(
    runs_dir: Path, removals: list[Removal], is_active: Callable[[Path], bool]
) -> tuple[list[Removal], tuple[str, ...]]:
    """What went, and a line for each thing that could not be deleted."""
    removed = []
    with hold(runs_dir):
        undeleted = [line for job in _directories(runs_dir) for line in sweep(job).undeleted]
        for removal in removals:
            # Asked again, because deleting takes a while and a run may have been taken up again.
            if removal.path.exists() and not is_active(removal.path):
                try:
                    erase(set_aside(removal.path))
                except MaejobsError as error:
                    undeleted.append(str(error))
                else:
                    removed.append(removal)
    return removed, tuple(undeleted)


def _measure(path: Path, job: str, active: bool, protected: bool) -> RunDirectory:
    """One run directory's size, age and whether anything holds it. Links count for nothing."""
    held = "active" if active else "protected" if protected else None
    total, dates = 0, []
    for directory, names, files in os.walk(path):
        if any(STEP_NAME.fullmatch(name) for name in names):
            held = held or "holds checkpoints"
        for name in files:
            try:
                status = (Path(directory) / name).lstat()
            except FileNotFoundError:
                continue  # a running run tidies up after itself
            total += min(status.st_size, status.st_blocks * 512)  # a bounded log has a hole
            dates.append(status.st_mtime)
    newest = max(dates) if dates else path.lstat().st_mtime
    return RunDirectory(path, job, total, datetime.fromtimestamp(newest, UTC), held)


def _directories(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(
        path
        for path in parent.iterdir()
        if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
    )
