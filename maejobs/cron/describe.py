"""An expression in plain English, as far as its values say it and not its spelling."""

from collections.abc import Sequence
from itertools import pairwise

from maejobs.cron.fields import MONTHS
from maejobs.cron.grammar import Expression

LISTED_TIMES = 6
FULL_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


def describe(expression: Expression) -> str:
    """Such as "at 02:30 on Monday to Friday"."""
    if expression.reboot:
        return "when the host starts"
    return " ".join(filter(None, (_time(expression), _days(expression), _months(expression))))


def _time(expression: Expression) -> str:
    minutes, hours = sorted(expression.minute.values), sorted(expression.hour.values)
    if len(minutes) * len(hours) <= LISTED_TIMES:
        return "at " + _joined([f"{m // 60:02}:{m % 60:02}" for m in expression.minutes_of_day])
    spoken = "every minute" if len(minutes) == 60 else f"at minute {_spoken(minutes)}"
    within = "of every hour" if len(minutes) < 60 else ""
    if len(hours) < 24:
        within = f"of hour {_spoken(hours)}"
    return f"{spoken} {within}".strip()


def _days(expression: Expression) -> str:
    days, weekdays = sorted(expression.day.values), sorted(expression.weekday.values)
    every_day, every_weekday = len(days) == 31, len(weekdays) == 7
    if len(expression.days) == 31 * 7:
        return "every day"
    on_days = f"on day {_spoken(days)} of the month"
    on_weekdays = f"on {_spoken(weekdays, FULL_WEEKDAYS)}"
    if every_weekday:
        return on_days
    if every_day:
        return on_weekdays
    if expression.either_day:
        return f"{on_days}, or {on_weekdays}"
    return f"{on_days}, if that is {on_weekdays.removeprefix('on ')}"


def _months(expression: Expression) -> str:
    months = sorted(expression.month.values)
    names = ["", *(name.capitalize() for name in MONTHS)]
    return "" if len(months) == 12 else f"in {_spoken(months, names)}"


def _spoken(values: Sequence[int], names: Sequence[str] | None = None) -> str:
    """Ascending values, neighbours as ranges, even steps as such."""
    word = str if names is None else names.__getitem__
    step = values[1] - values[0] if len(values) > 2 else 1
    if step > 1 and all(b - a == step for a, b in pairwise(values)):
        if len(values) > 3:
            return f"{word(values[0])} to {word(values[-1])} in steps of {step}"
        return _joined([word(value) for value in values])
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][-1] == value - 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    parts: list[str] = []
    for run in runs:
        far = len(run) > 2
        parts += [f"{word(run[0])} to {word(run[-1])}"] if far else [word(v) for v in run]
    return _joined(parts)


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
