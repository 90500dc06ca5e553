"""Durations, sizes and times of day as people write them: `90s`, `1h30m`, `500MB`, `06:30`."""

import re
from datetime import time, timedelta
from decimal import Decimal

_DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|TB)", re.ASCII)
_LONGEST = timedelta(days=3660)
_LARGEST = 2**63 - 1  # bytes; no disk comes near


def parse_duration(text: object) -> timedelta:
    """`"1h30m"`, `"90s"`, `"7d"`, or a number of seconds, as a timedelta from 0 s to ten years.

    Raises ValueError that says how a duration is written.
    """
    if isinstance(text, timedelta):
        return text
    seconds: float | None = None
    if isinstance(text, int | float) and not isinstance(text, bool) and text >= 0:
        seconds = text
    elif isinstance(text, str):
        parts = _DURATION.findall(text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            seconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)
    if seconds is None:
        raise ValueError(f"{text!r} is not a duration; write it like 90s, 45m, 1h30m or 7d")
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"{text!r} is longer than ten years")
    return timedelta(seconds=seconds)


def parse_size(text: object) -> int:
    """`"500MB"`, `"2GB"`, or a number of bytes, in bytes (decimal units).

    Raises ValueError that says how a size is written.
    """
    size: Decimal | int | None = None
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        size = text
    elif isinstance(text, str) and (match := _SIZE.fullmatch(text)):
        size = Decimal(match[1]) * _SIZE_UNITS[match[2]]
    if size is None:
        raise ValueError(f"{text!r} is not a size; write it like 500MB or 2GB")
    if size > _LARGEST:
        raise ValueError(f"{text!r} is more than any disk holds")
    return int(size)


def parse_time_of_day(text: object) -> time:
    """`"06:30"` as a time of day. Raises ValueError that says how one is written."""
    if isinstance(text, time):
        return text
    if isinstance(text, str) and re.fullmatch(r"\d{1,2}:\d{2}", text, re.ASCII):
        hour, minute = map(int, text.split(":"))
        if hour < 24 and minute < 60:
            return time(hour, minute)
    raise ValueError(f'{text!r} is not a time of day; write it like "06:30"')
