"""What an expression means, once it is read: the days and minutes on which it fires. Pure."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from maejobs.cron.dialect import Dialect
from maejobs.cron.fields import SPANS, Field

# 29 February is a date, if a rare one.
DAYS_IN_MONTH = dict(
    zip(range(1, 13), (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), strict=True)
)


@dataclass(frozen=True)
class Expression:
    """A schedule that cron takes and fires; `text` has single spaces, weekday 0 is Sunday."""

    text: str
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field
    reboot: bool
    dialect: Dialect = Dialect.DEBIAN

    @property
    def either_day(self) -> bool:
        """Whether the day of month or the weekday suffices: only if neither is a star field.

        For Debian and cronie that is one whose text begins with `*`, for busybox one that leaves
        no value out (FixDayDow in its crond.c).
        """
        return not (self.day.star or self.weekday.star)

    @property
    def has_date(self) -> bool:
        """Whether any of the days of the month comes in one of the months."""
        longest = max((DAYS_IN_MONTH[month] for month in self.month.values), default=0)
        return min(self.day.values, default=99) <= longest

    @property
    def wildcard(self) -> bool:
        """What cron's clock-jump rule calls a wildcard job: minute or hour starts with `*`.

        busybox has no such rule, and treats every job as Debian does these.
        """
        return self.dialect is Dialect.BUSYBOX or self.minute.star or self.hour.star

    @property
    def minutes_of_day(self) -> tuple[int, ...]:
        """The minutes after midnight at which it fires on a matching day, ascending."""
        return _minutes_of_day(self.hour.values, self.minute.values)

    @property
    def days(self) -> frozenset[tuple[int, int]]:
        """The pairs of day of month and weekday on which it fires, in the months it fires in."""
        return frozenset(
            (day, weekday)
            for day in range(1, 32)
            for weekday in range(7)
            if self.matches_day(day, weekday)
        )

    def matches(self, local: datetime) -> bool:
        """Whether it fires in the minute that a clock on the wall (naive) shows."""
        return (
            local.minute in self.minute.values
            and local.hour in self.hour.values
            and local.month in self.month.values
            and self.matches_day(local.day, local.isoweekday() % 7)
        )

    def matches_day(self, day: int, weekday: int) -> bool:
        """Whether it fires on such a day of one of its months; weekday 0 is Sunday."""
        day_matches, weekday_matches = day in self.day.values, weekday in self.weekday.values
        return (
            day_matches or weekday_matches if self.either_day else day_matches and weekday_matches
        )


# Few, and shared by value: a daemon holds thousands of expressions, and these are large.
@lru_cache(maxsize=32)
def _minutes_of_day(hours: frozenset[int], minutes: frozenset[int]) -> tuple[int, ...]:
    return tuple(hour * 60 + minute for hour in sorted(hours) for minute in sorted(minutes))


NEVER = tuple(Field(span.name, "", frozenset(), False) for span in SPANS)
