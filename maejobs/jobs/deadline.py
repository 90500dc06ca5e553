"""When a run must have stopped. Pure: times in, a time out."""

from datetime import UTC, datetime, time, timedelta, tzinfo


def deadline_of(
    base: datetime,
    start: datetime,
    until: time | None,
    timeout: timedelta | None,
    zone: tzinfo,
) -> datetime | None:
    """The earlier of `start + timeout` and the first `until` after `base`; None for neither.

    `base` is the slot (or the start, for a run by hand), so that a run that starts after its
    window has a deadline in the past instead of one tomorrow. `until` is a time of day in `zone`.
    """
    ends = []
    if timeout is not None:
        ends.append(start + timeout)
    if until is not None:
        ends.append(next_time_of_day(base, until, zone))
    return min(ends, default=None)


def next_time_of_day(after: datetime, at: time, zone: tzinfo) -> datetime:
    """The first instant after `after` at which the clocks of `zone` show `at`, in UTC.

    A time that a night's clocks skip comes as much later as they jump; one that they show twice
    counts twice, so that a slot between the two ends at the second.
    """
    day = after.astimezone(zone).date()
    for days in range(3):
        local = datetime.combine(day + timedelta(days=days), at, zone)
        for fold in (0, 1):
            instant = local.replace(fold=fold).astimezone(UTC)
            shown = instant.astimezone(zone).time() == at
            if instant > after and (shown or fold == 0):
                return instant
    raise AssertionError("a time of day comes within two days")
