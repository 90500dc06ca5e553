"""When an expression fires, as the daemon would: in the host's zone, aware UTC in and out.

Day rule and clock jumps follow Debian's and cronie's daemons (crontab(5), cron(8)), which agree:
a job at a fixed time runs once on both DST nights; a wildcard job (minute or hour starts with `*`)
is skipped with the missing hour in spring and repeated with the doubled one in autumn.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path

from maejobs.cron.grammar import Expression

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
HORIZON_DAYS = 41 * 366  # 29 February is a given weekday after forty years at the latest
# Beyond this, cron takes the jump for a clock set by hand and starts afresh.
LONGEST_JUMP = timedelta(hours=3)
LOCALTIME = "/etc/localtime"
ZONE_VARIABLE = "MAEJOBS_ZONE"  # set by our own daemon for what it starts


def host_zone() -> tzinfo:
    """The zone cron schedules in: `TZ` where it names one, else /etc/localtime, else UTC.

    A `TZ` that is no zone's name is passed over: the daemon goes by /etc/localtime in any case.
    """
    return _first_zone(os.environ.get("TZ", ""), LOCALTIME)


def scheduling_zone() -> tzinfo:
    """The zone of the daemon that called us: `MAEJOBS_ZONE` if that is ours, else the host's.

    `TZ` does not count here: a `TZ=` line of the crontab reaches the job, and not the schedule.
    """
    return _first_zone(os.environ.get(ZONE_VARIABLE, ""), LOCALTIME)


def _first_zone(*names: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    for name in filter(None, (name.removeprefix(":") for name in names)):
        try:
            if not name.startswith("/"):
                return ZoneInfo(name)
            file = Path(name).resolve()
            _, _, key = str(file).rpartition("zoneinfo/")
            if key and not key.startswith("/"):
                return ZoneInfo(key)
            with file.open("rb") as stream:
                return ZoneInfo.from_file(stream, name)
        except (OSError, ValueError, KeyError):  # KeyError: no such zone
            continue
    return UTC


def fires(expression: Expression, after: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Each fire strictly after `after`, ascending; ends where none comes for forty years.

    `@reboot` yields nothing: it has no time.
    """
    last = after.astimezone(UTC)
    for day in _matching_days(expression, last.astimezone(zone).date(), DAY):
        start, minutes = _fires_on(expression, day, zone)
        for minute in minutes[bisect_right(minutes, (last - start) // MINUTE) :]:
            last = start + minute * MINUTE
            yield last


def next_fire(expression: Expression, after: datetime, zone: tzinfo) -> datetime | None:
    """The first fire strictly after `after`, if one comes within forty years."""
    return next(fires(expression, after, zone), None)


def previous_fire(expression: Expression, at: datetime, zone: tzinfo) -> datetime | None:
    """The latest fire at or before `at`, looking back forty years."""
    at = at.astimezone(UTC)
    for day in _matching_days(expression, at.astimezone(zone).date(), -DAY):
        start, minutes = _fires_on(expression, day, zone)
        if count := bisect_right(minutes, (at - start) // MINUTE):
            return start + minutes[count - 1] * MINUTE
    return None


def _matching_days(expression: Expression, day: date, step: timedelta) -> Iterator[date]:
    """The days on which it fires, from `day` on in steps, until none comes within the horizon."""
    days, months, weekdays = (
        field.values for field in (expression.day, expression.month, expression.weekday)
    )
    match = any if expression.either_day else all
    quiet = HORIZON_DAYS if expression.reboot else 0
    while quiet < HORIZON_DAYS:
        quiet += 1
        if day.month in months and match((day.day in days, day.isoweekday() % 7 in weekdays)):
            yield day
            quiet = 0
        day += step


def _fires_on(expression: Expression, day: date, zone: tzinfo) -> tuple[datetime, Sequence[int]]:
    """The start of a local day, and how many minutes after it the expression fires, ascending."""
    midnight = datetime.combine(day, time.min)
    offset = _offset(midnight, zone, 0)
    start = (midnight - offset).replace(tzinfo=UTC)
    minutes = expression.minutes_of_day
    if offset == _offset(midnight + DAY, zone, 0):
        return start, minutes
    shifted = {
        minute + (offset - actual) // MINUTE
        for minute in minutes
        for minute, actual in _instants(expression, midnight, minute, zone)
    }
    return start, sorted(shifted)


def _instants(
    expression: Expression, midnight: datetime, minute: int, zone: tzinfo
) -> Iterator[tuple[int, timedelta]]:
    """When a local minute of a day with a clock jump runs: (minute, UTC offset), none to two."""
    local = midnight + minute * MINUTE
    before, after = _offset(local, zone, 0), _offset(local, zone, 1)
    jump = after - before
    if not jump:
        yield minute, before
    elif jump < timedelta(0):  # the minute comes twice
        yield minute, before
        if expression.wildcard or -jump > LONGEST_JUMP:
            yield minute, after
    elif not expression.wildcard and jump <= LONGEST_JUMP:  # it does not come: run after the gap
        while _offset(midnight + minute * MINUTE, zone, 1) != _offset(
            midnight + minute * MINUTE, zone, 0
        ):
            minute -= 1
        yield minute + 1, before


def _offset(local: datetime, zone: tzinfo, fold: int) -> timedelta:
    return local.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta(0)
