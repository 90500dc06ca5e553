"""Which slots should have had a run and have none. Pure: times in, verdicts out."""

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


def late_by(
    now: datetime,
    due: datetime | None,
    late_after: timedelta,
    since: datetime | None,
    last_slot: datetime | None,
) -> timedelta | None:
    """How long ago the slot that is `due` should have started; None if it has, or may still.

    `since` is when the job was scheduled, `last_slot` the newest slot that has a run.
    """
    if due is None or since is None or due <= since:
        return None
    if last_slot is not None and last_slot >= due:
        return None
    return now - due if now - due > late_after else None
