"""When an expression fires, as the daemon would: in the host's zone, aware UTC in and out.

Day rule and clock jumps follow Debian's and cronie's daemons (crontab(5), cron(8)), which agree:
a job at a fixed time runs once on both DST nights; a wildcard job (minute or hour starts with `*`)
is skipped with the missing hour in spring and repeated with the doubled one in autumn. Who misses
many minutes in spring has them made up for ten seconds apart, as if nothing else were in the table.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path

from maejobs.cron.clock_changes import ClockChange, clock_changes
from maejobs.cron.grammar import Expression
from maejobs.cron.posix_zone import posix_zone
from maejobs.cron.wakeup import (
    LONGEST_JUMP,
    MINUTE,
    NAP_SECONDS,
    Due,
    catch_up,
    is_due,
    local_minute,
)
from maejobs.files import real_path

DAY = timedelta(days=1)
HORIZON_DAYS = 41 * 366  # 29 February is a given weekday after forty years at the latest
LOCALTIME = "/etc/localtime"
ZONE_VARIABLE = "MAEJOBS_ZONE"  # set by our own daemon for what it starts


def host_zone() -> tzinfo:
    """The caller's zone: `TZ` where that is one's name or rule, else /etc/localtime, else UTC.

    Our own daemon schedules in it, and a person is told in it when something happened. When cron
    fires is told by maejobs.cron.zone: a `TZ` in somebody's shell is not the daemon's.
    """
    return _first_zone(os.environ.get("TZ", ""), LOCALTIME)


def scheduling_zone() -> tzinfo:
    """The zone of the daemon that called us: `MAEJOBS_ZONE` if that is ours, else the host's.

    `TZ` does not count here: a `TZ=` line of the crontab reaches the job, and not the schedule.
    """
    return _first_zone(os.environ.get(ZONE_VARIABLE, ""), LOCALTIME)


def zone_named(name: str) -> tzinfo:
    """The zone called so, as cron's C library takes it: UTC where there is none."""
    return _first_zone(name)


def _first_zone(*names: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    for name in filter(None, (name.removeprefix(":") for name in names)):
        try:
            if not name.startswith("/"):
                return zone_called(name)
            file = real_path(Path(name))
            _, _, key = str(file).rpartition("zoneinfo/")
            if key and not key.startswith("/"):
                return ZoneInfo(key)
            with file.open("rb") as stream:
                return ZoneInfo.from_file(stream, name)
        except (OSError, ValueError, KeyError):
            continue
    return UTC


def zone_called(name: str) -> tzinfo:
    """As the C library reads `TZ`: a zone's name, else its rule. Raises ValueError for neither."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # KeyError: no such zone
        return posix_zone(name)


def fires(expression: Expression, after: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Each fire strictly after `after`, ascending; ends where none comes for forty years.

    `@reboot` yields nothing: it has no time.
    """
    last = after.astimezone(UTC)
    for day, matches in _days(expression, last.astimezone(zone).date(), DAY):
        start, minutes = _fires_on(expression, day, matches, zone)
        for minute in minutes[bisect_right(minutes, (last - start) // MINUTE) :]:
            last = start + minute * MINUTE
            yield last


def next_fire(expression: Expression, after: datetime, zone: tzinfo) -> datetime | None:
    """The first fire strictly after `after`, if one comes within forty years."""
    return next(fires(expression, after, zone), None)


def previous_fire(expression: Expression, at: datetime, zone: tzinfo) -> datetime | None:
    """The latest fire at or before `at`, looking back forty years."""
    at = at.astimezone(UTC)
    for day, matches in _days(expression, at.astimezone(zone).date(), -DAY):
        start, minutes = _fires_on(expression, day, matches, zone)
        if count := bisect_right(minutes, (at - start) // MINUTE):
            return start + minutes[count - 1] * MINUTE
    return None


def _days(expression: Expression, day: date, step: timedelta) -> Iterator[tuple[date, bool]]:
    """From `day` on in steps: each day on which it fires or that follows one; and which it is.

    What an evening's clock change delays comes on the day after. Ends when the expression has
    matched no day for the length of the horizon.
    """
    months = expression.month.values

    def matches(day: date) -> bool:
        return day.month in months and expression.matches_day(day.day, day.isoweekday() % 7)

    quiet = 0 if expression.minutes_of_day else HORIZON_DAYS
    while quiet < HORIZON_DAYS and day < date.max:  # which has no morrow to look at
        quiet += 1
        if matches(day):
            yield day, True
            quiet = 0
        elif matches(day - DAY):
            yield day, False
        day += step


def _fires_on(
    expression: Expression, day: date, matches: bool, zone: tzinfo
) -> tuple[datetime, Sequence[int]]:
    """The start of a local day, and how many minutes after it the expression fires, ascending."""
    midnight = datetime.combine(day, time.min)
    offset = _offset(midnight, zone)
    start = (midnight - offset).replace(tzinfo=UTC)
    minutes = expression.minutes_of_day if matches else ()
    # A jump of the evening before may not be over yet.
    if _offset(midnight - LONGEST_JUMP * MINUTE, zone) == _offset(midnight + DAY, zone):
        return start, minutes
    end = (midnight + DAY - _offset(midnight + DAY, zone)).replace(tzinfo=UTC)
    change = next(clock_changes(start - LONGEST_JUMP * MINUTE, end, zone), None)
    if change is None:
        return start, minutes
    # Before the change, and when a daemon has caught up with it, the day is as any other.
    changed = (change.at - start) // MINUTE
    fired, calm = _while_catching_up(expression, start, change, changed)
    fired.update(minute for minute in minutes if minute < changed)
    shift = (offset - change.after) // MINUTE
    fired.update(minute + shift for minute in minutes if minute + shift >= calm)
    return start, sorted(minute for minute in fired if 0 <= minute < (end - start) // MINUTE)


def _while_catching_up(
    expression: Expression, start: datetime, change: ClockChange, changed: int
) -> tuple[set[int], int]:
    """The minutes from `changed` on in which it fires, and the first that is as any other.

    In between, what the daemons' rule makes of a jump of the clock.
    """
    fired: set[int] = set()
    minute, virtual = changed, local_minute(start + (changed - 1) * MINUTE + change.before)
    seconds = 0

    def fire(due: Due) -> bool:
        if is_due(expression, due):
            fired.add(minute + seconds // 60)
            return True
        return False

    def nap() -> int:
        nonlocal seconds
        seconds += NAP_SECONDS
        return clock + seconds // 60

    while True:
        clock, seconds = local_minute(start + minute * MINUTE + change.after), 0
        virtual = catch_up(virtual, clock, fire, nap)
        minute += 1
        if virtual == clock:
            return fired, minute


def _offset(local: datetime, zone: tzinfo) -> timedelta:
    return local.replace(tzinfo=zone).utcoffset() or timedelta(0)
