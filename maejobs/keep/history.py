"""What of history goes: limits and what is known of runs in, decisions with reasons out. Pure.

And when the database may be packed: not while somebody needs it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from maejobs.errors import UserError
from maejobs.rundb.run import LONGEST_RUN, LOOK_BACK, UNFINISHED

# Of a younger run reconcile may ask whether its slot had one, or whether maejobs was there then:
# without it the slot would be missed once more.
HORIZON = LOOK_BACK + LONGEST_RUN
WORTH_PACKING = 0.2  # of the file; packing costs as much as writing it anew


class Part(StrEnum):
    """What goes of a run."""

    RUN = "run"  # its row, with all that belongs to it
    SERIES = "series"  # its metrics and whatever else was told or sampled often


@dataclass(frozen=True)
class Limits:
    """How much of history stays. None: no such limit. Raises UserError for a negative one."""

    runs_age: timedelta | None = None
    runs_count: int | None = None  # of each job
    series_age: timedelta | None = None

    def __post_init__(self) -> None:
        ages = [age for age in (self.runs_age, self.series_age) if age is not None]
        if any(age < timedelta(0) for age in ages) or (self.runs_count or 0) < 0:
            raise UserError("a limit of age or number cannot be negative")

    @property
    def any(self) -> bool:
        """Whether there is one at all."""
        return self != Limits()


@dataclass(frozen=True)
class PastRun:
    """What the decision needs to know of one; `held` says why it stays in any case."""

    id: str
    state: str
    queued: datetime
    slot: datetime | None
    finished: datetime | None
    has_series: bool = False
    held: str | None = None


@dataclass(frozen=True)
class Removal:
    run: str
    part: Part
    reason: str


@dataclass(frozen=True)
class Bounds:
    """What of one job may go by its limits: runs, and series of runs, queued before these."""

    runs: datetime | None
    runs_reason: str
    series: datetime | None

    @property
    def newest(self) -> datetime | None:
        """What was queued at this time or later need not be looked at."""
        return max((at for at in (self.runs, self.series) if at is not None), default=None)


def bounds(now: datetime, limits: Limits, nth_newest: datetime | None) -> Bounds:
    """The bounds of a job whose newest `limits.runs_count`-th run was queued at `nth_newest`.

    None: it has not that many. Neither reaches into the `HORIZON`.
    """
    by_age = None if limits.runs_age is None else now - limits.runs_age
    by_count = None if limits.runs_count is None else nth_newest
    if limits.runs_count == 0:
        by_count = now
    found = max((at for at in (by_age, by_count) if at is not None), default=None)
    too_old = by_age is not None and found == by_age
    days = limits.runs_age.days if limits.runs_age is not None else 0
    reason = f"older than {days} days" if too_old else f"not of the newest {limits.runs_count}"
    series = None if limits.series_age is None else now - limits.series_age
    return Bounds(None if found is None else min(found, now - HORIZON), reason, series)


def plan_history(now: datetime, runs: Iterable[PastRun], bounds: Bounds) -> list[Removal]:
    """What goes of `runs`, all of one job: whole runs, and the series of others.

    Never a run that is held, that has not ended, or whose slot is within the `HORIZON`.
    """
    removals = []
    for run in runs:
        if run.held or run.finished is None or run.state in UNFINISHED:
            continue
        within = max(run.queued, run.slot or run.queued) > now - HORIZON
        if bounds.runs is not None and run.queued < bounds.runs and not within:
            removals.append(Removal(run.id, Part.RUN, bounds.runs_reason))
        elif run.has_series and bounds.series is not None and run.queued < bounds.series:
            removals.append(Removal(run.id, Part.SERIES, "its series are too old"))
    return removals


@dataclass(frozen=True)
class Use:
    """Who needs the database, now and soon: runs under way, and when the next slot is due."""

    running: Sequence[str] = ()
    next_due: datetime | None = None


def why_not_packed(
    now: datetime, use: Use, quiet_for: timedelta, free_pages: int, pages: int
) -> str | None:
    """Why the database is not packed (VACUUM) now; None: it is worth it, and nobody is in the way.

    Whoever wants to write meanwhile would have to wait.
    """
    if free_pages < WORTH_PACKING * pages:
        return "there is little to gain"
    if use.running:
        return f"{use.running[0]} is under way"
    if use.next_due is not None and use.next_due - now < quiet_for:
        return f"a slot is due within {quiet_for.total_seconds() / 60:.0f} minutes"
    return None
