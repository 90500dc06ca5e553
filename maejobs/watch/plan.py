"""What comes and when it will be done. Pure: jobs and times in, firings out."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from heapq import merge
from itertools import takewhile

from maejobs.cron.fires import fires
from maejobs.cron.grammar import Expression
from maejobs.errors import UserError
from maejobs.jobs.deadline import deadline_of
from maejobs.watch.expectation import UNKNOWN, Expectation

GPU_LOCK = re.compile(r"gpu[0-9]+")  # as the gate calls them (supervise/gpu_gate.py)
MOST_FIRINGS = 1_000_000


@dataclass(frozen=True)
class PlannedJob:
    """A scheduled job: its entries' expressions, the keys of its file that count, its past."""

    name: str
    expressions: tuple[Expression, ...]
    until: time | None = None
    timeout: timedelta | None = None
    grace: timedelta = timedelta(seconds=30)
    overlap: str = "skip"
    wait: timedelta = timedelta(hours=1)
    locks: frozenset[str] = frozenset()
    gpus: int = 0
    gpu_wait: timedelta = timedelta(0)
    expected: Expectation = UNKNOWN
    asks: tuple[str, ...] = ()  # what else must hold before it starts, in words

    @property
    def gpus_held(self) -> int:
        """How many GPUs a run has: of those it asks for, and those it names a lock of."""
        return self.gpus + sum(map(is_gpu, self.locks))

    def may_be_in_the_way_of(self, other: "PlannedJob") -> bool:
        """Whether both need something that one of them can have, or are the same job."""
        shared = self.locks & other.locks or (self.gpus_held and other.gpus_held)
        return bool(shared) or self.name == other.name


@dataclass(frozen=True, slots=True)
class Firing:
    """A coming run of `job` in `slot`. Times are aware UTC; None: not known, or no such limit.

    `deadline` is that of a start in time, `closes` until when it may start at all.
    """

    job: PlannedJob
    expression: Expression
    slot: datetime
    deadline: datetime | None
    closes: datetime | None

    @property
    def usual_end(self) -> datetime | None:
        """When it will have ended in half of all cases (p50)."""
        return self._end(self.job.expected.usual)

    @property
    def long_end(self) -> datetime | None:
        """When it will have ended in 95 % of all cases."""
        return self._end(self.job.expected.long)

    @property
    def busy_until(self) -> datetime | None:
        """Until when it may hold its locks: its long end; the end of grace if it may meet its
        deadline, as one of unknown length may."""
        end = self.long_end
        if self.deadline is not None and (end is None or end >= self.deadline):
            return self.deadline + self.job.grace
        return end

    def _end(self, length: timedelta | None) -> datetime | None:
        if self.job.expected.to_deadline:
            return self.deadline
        if length is None:
            return None
        end = self.slot + length
        return end if self.deadline is None else min(end, self.deadline)


def is_gpu(lock: str) -> bool:
    """Whether that is the name of a GPU's lock."""
    return GPU_LOCK.fullmatch(lock) is not None


def firings(
    jobs: Iterable[PlannedJob], after: datetime, until: datetime, zone: tzinfo
) -> list[Firing]:
    """Every firing after `after`, up to and with `until`, by slot and name.

    A slot that two entries of a job share is one firing, as it is one run.
    Raises UserError for more than `MOST_FIRINGS`.
    """
    each = (
        _of_entry(job, expression, after, until, zone)
        for job in jobs
        for expression in job.expressions
    )
    found: dict[tuple[datetime, str], Firing] = {}
    for firing in merge(*each, key=_order):
        found.setdefault(_order(firing), firing)
        if len(found) > MOST_FIRINGS:
            raise UserError(
                f"more than {MOST_FIRINGS:,} slots until {until:%Y-%m-%d}: too many to look through"
            )
    return list(found.values())


def _order(firing: Firing) -> tuple[datetime, str]:
    return firing.slot, firing.job.name


def _of_entry(
    job: PlannedJob, expression: Expression, after: datetime, until: datetime, zone: tzinfo
) -> Iterator[Firing]:
    for slot in takewhile(lambda slot: slot <= until, fires(expression, after, zone)):
        closes = deadline_of(slot, slot, job.until, None, zone)
        deadline = deadline_of(slot, slot, job.until, job.timeout, zone)
        yield Firing(job, expression, slot, deadline, closes)
