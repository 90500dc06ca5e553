"""When a zone's clocks are changed, and what that does to slots. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum

from maejobs.cron.grammar import Expression
from maejobs.cron.wakeup import LONGEST_JUMP

MINUTE = timedelta(minutes=1)
STRIDE = timedelta(days=1)  # no zone changes its clocks twice within it
EVERY_HOUR = 24


class Surprise(StrEnum):
    """What becomes of a slot whose time is left out, or comes twice."""

    MOVED = "moved"
    SKIPPED = "skipped"
    TWICE = "twice"


@dataclass(frozen=True)
class ClockChange:
    """At `at` (UTC) the clocks turn from the offset `before` to the offset `after`."""

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def forward(self) -> bool:
        return self.after > self.before

    @property
    def minutes(self) -> Iterator[datetime]:
        """The local minutes that are left out, or come twice; naive, ascending."""
        local = (self.at + min(self.before, self.after)).replace(tzinfo=None)
        for _ in range(abs(self.after - self.before) // MINUTE):
            yield local
            local += MINUTE


def clock_changes(after: datetime, until: datetime, zone: tzinfo) -> Iterator[ClockChange]:
    """The changes of `zone`'s clocks after `after`, up to and with `until`, to the minute."""
    early = after.astimezone(UTC).replace(second=0, microsecond=0)
    before = _offset(early, zone)
    while early < until:
        late = min(early + STRIDE, until)
        later = _offset(late, zone)
        if before != later:
            low, high = early, late
            while high - low > MINUTE:
                middle = low + (high - low) // MINUTE // 2 * MINUTE
                low, high = (low, middle) if _offset(middle, zone) == later else (middle, high)
            yield ClockChange(high.replace(second=0, microsecond=0), before, later)
        early, before = late, later


def surprise(expression: Expression, change: ClockChange) -> tuple[datetime, Surprise] | None:
    """The first slot, naive local time, that the change moves, skips or doubles; and which.

    What goes on every so many minutes all day long goes on so through the night, to nobody's
    surprise.
    """
    if expression.wildcard and len(expression.hour.values) == EVERY_HOUR:
        return None
    if not change.forward and not expression.wildcard:
        return None  # the second time it is not run again
    slot = next((local for local in change.minutes if expression.matches(local)), None)
    if slot is None:
        return None
    if not change.forward:
        return slot, Surprise.TWICE
    lost = expression.wildcard or change.after - change.before > LONGEST_JUMP * MINUTE
    return slot, Surprise.SKIPPED if lost else Surprise.MOVED


def _offset(at: datetime, zone: tzinfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)
