"""Which slots should have had a run and have none. Pure: times in, slots out."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

MOST_AT_ONCE = 1000  # a minutely job after a month away is one story, not 43,200 rows


def missed_slots(
    now: datetime,
    since: datetime,
    late_after: timedelta,
    next_fire: Callable[[datetime], datetime | None],
    started: Collection[datetime],
) -> list[datetime]:
    """The newest slots in (since, now - late_after] for which no run has `started`, oldest first.

    `next_fire(t)` is the job's first slot after t. At most `MOST_AT_ONCE` are given.
    """
    missed: list[datetime] = []
    slot = next_fire(since)
    while slot is not None and slot <= now - late_after:
        if slot not in started:
            missed.append(slot)
        slot = next_fire(slot)
    return missed[-MOST_AT_ONCE:]
