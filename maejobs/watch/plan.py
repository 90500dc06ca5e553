"""What comes and when it will be done. Pure: jobs and times in, firings out."""

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
    expected: Expectation = UNKNOWN


@dataclass(frozen=True, slots=True)
class Firing:
    """A coming run of `job` in `slot`. Times are aware UTC; None: not known, or no such limit."""

    job: PlannedJob
    expression: Expression
    slot: datetime
    deadline: datetime | None

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
        deadline = deadline_of(slot, slot, job.until, job.timeout, zone)
        yield Firing(job, expression, slot, deadline)
