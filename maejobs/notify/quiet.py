"""Hours in which nobody is to be woken. Pure."""

from datetime import datetime, time, tzinfo
from typing import NamedTuple

from maejobs.jobs.deadline import next_time_of_day
from maejobs.jobs.units import parse_time_of_day


class QuietHours(NamedTuple):
    """From `start` up to `end`, local times of day; over midnight if `end` is the earlier."""

    start: time
    end: time


def parse_quiet_hours(text: object) -> QuietHours:
    """`"22:00-07:00"`. Raises ValueError that says how they are written."""
    start, dash, end = text.partition("-") if isinstance(text, str) else ("", "", "")
    try:
        hours = QuietHours(parse_time_of_day(start.strip()), parse_time_of_day(end.strip()))
    except ValueError:
        dash = ""
    if not dash:
        raise ValueError(f'{text!r} are no quiet hours; write them like "22:00-07:00"')
    if hours.start == hours.end:
        raise ValueError("quiet hours that end when they begin: leave them out for none")
    return hours


def quiet_until(now: datetime, hours: QuietHours | None, zone: tzinfo) -> datetime | None:
    """When the quiet hours that it is now will end, in UTC; None where it is not quiet."""
    if hours is None:
        return None
    clock = now.astimezone(zone).time()
    if hours.start < hours.end:
        quiet = hours.start <= clock < hours.end
    else:
        quiet = clock >= hours.start or clock < hours.end
    return next_time_of_day(now, hours.end, zone) if quiet else None
