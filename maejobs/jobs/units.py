"""Durations, sizes and times of day as people write them: `90s`, `1h30m`, `500MB`, `06:30`."""

import re
from datetime import time, timedelta

_DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|TB)", re.ASCII)
_LONGEST = timedelta(days=3660)


def parse_duration(text: object) -> timedelta:
    """`"1h30m"`, `"90s"`, `"7d"`, or a number of seconds, as a timedelta from 0 s to ten years.

    Raises ValueError that says how a duration is written.
    """
    if isinstance(text, timedelta):
        duration = text
    elif isinstance(text, int | float) and not isinstance(text, bool) and 0 <= text < 1e9:
        duration = timedelta(seconds=text)
    elif isinstance(text, str) and (parts := _DURATION.findall(text)):
        if "".join(number + unit for number, unit in parts) != text:
            raise ValueError(f"{text!r} is not a duration; write it like 90s, 45m, 1h30m or 7d")
        seconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)
        if seconds > _LONGEST.total_seconds():
            raise ValueError(f"{text!r} is longer than ten years")
        duration = timedelta(seconds=seconds)
    else:
        raise ValueError(f"{text!r} is not a duration; write it like 90s, 45m, 1h30m or 7d")
    return duration


def parse_size(text: object) -> int:
    """`"500MB"`, `"2GB"`, or a number of bytes, in bytes (decimal units).

    Raises ValueError that says how a size is written.
    """
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    if isinstance(text, str) and (match := _SIZE.fullmatch(text)):
        return int(float(match[1]) * _SIZE_UNITS[match[2]])
    raise ValueError(f"{text!r} is not a size; write it like 500MB or 2GB")


def parse_time_of_day(text: object) -> time:
    """`"06:30"` as a time of day. Raises ValueError that says how one is written."""
    if isinstance(text, time):
        return text
    if isinstance(text, str) and re.fullmatch(r"\d{1,2}:\d{2}", text, re.ASCII):
        hour, minute = map(int, text.split(":"))
        if hour < 24 and minute < 60:
            return time(hour, minute)
    raise ValueError(f'{text!r} is not a time of day; write it like "06:30"')
