"""What to write instead of an item that cron would reject or not take as meant."""

from collections.abc import Sequence
from typing import Protocol

FULL_NAMES = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
]
WEEK = 7


class Bounds(Protocol):
    """What a mend needs to know of a field."""

    @property
    def low(self) -> int: ...
    @property
    def high(self) -> int: ...
    @property
    def names(self) -> tuple[str, ...]: ...


def wrapped(span: Bounds, low: int, high: int, step: int, named: bool) -> str:
    """A range that runs backwards, as two that do not: `fri-sun` is `fri,sat,sun`."""
    top = _top(span)
    if low > top:  # 7 is Sunday, which opens the week
        return written(span, range(span.low, high + 1, step), named)
    before = range(low, top + 1, step)
    after = range(before[-1] + step - top - 1 + span.low, high + 1, step)
    return ",".join(written(span, part, named) for part in (before, after) if part)


def run_to_the_end(span: Bounds, first_text: str, first: int, step: int) -> str | None:
    """`5/10` as other schedulers mean it: `5-59/10`."""
    if step == 0:
        return None
    top = _top(span)
    if first > top:  # 7 is Sunday, which opens the week
        first, first_text = span.low, str(span.low)
    last = str(top) if first_text.isdigit() else span.names[top - span.low]
    return first_text if first + step > top else f"{first_text}-{last}/{step}"


def within(span: Bounds, low: int, high: int, single: bool, step: str | None) -> str | None:
    """Numbers beyond the field as the nearest thing within, where that is surely meant."""
    if span.names and span.low == 0:
        return _sunday_as_0(span, low, int((step or "1")[:9])) if high == WEEK else None
    if single:
        return "0" if low == span.high + 1 and span.low == 0 and step is None else None
    if low < span.low or step is not None:  # counted from 0, perhaps: `0-6` may be January to July
        return None
    return written(span, range(low, span.high + 1), False) or None


def _sunday_as_0(span: Bounds, low: int, step: int) -> str | None:
    """Days up to a 7, which busybox does not know: `5-7` is `5-6,0`."""
    if step == 0 or low > WEEK:
        return None
    days = range(low, WEEK + 1, step)
    before = written(span, [day for day in days if day < WEEK], False)
    sunday = "0" if WEEK in days and 0 not in days else ""
    return ",".join(filter(None, (before, sunday)))


def written(span: Bounds, values: Sequence[int], named: bool) -> str:
    """Evenly spaced values as one item, or two where a range would say no more."""
    if not values:
        return ""
    words = [span.names[value - span.low] if named else str(value) for value in values]
    step = values[1] - values[0] if len(values) > 1 else 1
    if len(words) == 1 or (len(words) == 2 and (named or step > 1)):
        return ",".join(words)
    return f"{words[0]}-{words[-1]}" + (f"/{step}" if step > 1 else "")


def is_long_name(word: str, names: tuple[str, ...]) -> bool:
    """Whether `word` is a name of the field spelt out, or cut elsewhere: `tues`, `sunday`."""
    word = word.lower()
    return word[:3] in names and any(full.startswith(word) for full in FULL_NAMES)


def _top(span: Bounds) -> int:
    """The last value that is not the first once more."""
    return 6 if span.names and span.low == 0 else span.high
