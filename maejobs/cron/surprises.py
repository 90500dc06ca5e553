"""What is legal and surprising in an expression: said before it matters, never refused."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, tzinfo
from itertools import islice

from maejobs.cron.clock_changes import clock_changes
from maejobs.cron.fields import SPANS, Span
from maejobs.cron.fires import fires, next_fire
from maejobs.cron.grammar import Expression

DAY = timedelta(days=1)
YEAR_DAYS = 366
MANY = 3  # two that meet are told by `maejobs plan`, if they are in each other's way
LOOKED_AT = 24  # fires: a day of an hourly job, three weeks of one on weekdays


def surprises_of(expression: Expression, now: datetime, zone: tzinfo) -> list[str]:
    """The warnings, those about the year from `now` in `zone` included."""
    if expression.reboot:
        return []
    return [
        *_day_rule(expression),
        *_idle_steps(expression),
        *_lost_days(expression),
        *_rare(expression, now, zone),
        *_jumps(expression, now, zone),
    ]


def crowd_of(
    expression: Expression, lines: Iterable[Expression], now: datetime, zone: tzinfo
) -> list[str]:
    """The warning where three or more of `lines`, a crontab's, start with one of the next fires.

    It names the fullest of these minutes. A line that holds `expression` itself counts, too.
    """
    lines = list(lines)
    if not lines:
        return []
    coming = [at.astimezone(zone) for at in islice(fires(expression, now, zone), LOOKED_AT)]
    crowds = [sum(line.matches(at) for line in lines if not line.reboot) for at in coming]
    most = max(crowds, default=0)
    if most < MANY:
        return []
    at = coming[crowds.index(most)]
    return [f"{most} lines of the crontab start at the same minute ({at:%Y-%m-%d %H:%M})"]


def _day_rule(expression: Expression) -> Iterator[str]:
    day, weekday = expression.day, expression.weekday
    if expression.either_day:
        yield f"day of month {day.text} OR weekday {weekday.text}: either one suffices"
    elif len(day.values) < 31 and len(weekday.values) < 7:
        yield (
            f"day of month {day.text} AND weekday {weekday.text}: both must hold, since one of "
            "them begins with `*`"
        )


def _idle_steps(expression: Expression) -> Iterator[str]:
    fields = (expression.minute, expression.hour, expression.day, expression.month)
    for span, field in zip(SPANS, (*fields, expression.weekday), strict=True):
        for item in field.text.split(","):
            yield from _idle_step(span, item)


def _idle_step(span: Span, item: str) -> Iterator[str]:
    bounds, _, step = item.partition("/")
    low, _, high = bounds.partition("-")
    if not (step and high):
        return
    first, last = span.number(low), span.number(high)
    if first is not None and last is not None and int(step) > last - first:
        yield f"{span.name} {item}: the step leaves the range, only {low} counts: write {low}"


def _lost_days(expression: Expression) -> Iterator[str]:
    """Where a weekday suffices, a date that never comes is no reason to refuse."""
    if expression.either_day and not expression.has_date:
        day, month = expression.day.text, expression.month.text
        yield f"`{day}` never comes in month {month}: the weekday alone decides"


def _rare(expression: Expression, now: datetime, zone: tzinfo) -> Iterator[str]:
    fire = next_fire(expression, now, zone)
    if fire is None:
        yield "it does not fire within the next forty years"
    elif fire - now > YEAR_DAYS * DAY:
        yield f"it fires seldom: next on {fire.astimezone(zone):%Y-%m-%d}"


def _jumps(expression: Expression, now: datetime, zone: tzinfo) -> Iterator[str]:
    if len(expression.hour.values) == 24:
        return  # an hour more or less surprises nobody whose job runs in each
    for change in clock_changes(now, now + YEAR_DAYS * DAY, zone):
        touched = [local for local in change.minutes if expression.matches(local)]
        if touched:
            yield _jump(expression, touched, change.forward)


def _jump(expression: Expression, touched: list[datetime], forward: bool) -> str:
    at, first = f"{touched[0]:%Y-%m-%d}: the clock", f"{touched[0]:%H:%M}"
    if forward:
        happens = "does not run in it"
        if not expression.wildcard:
            times = "once" if len(touched) == 1 else f"{len(touched)} times, ten seconds apart"
            happens = f"runs {times}, right after the gap"
        return f"{at} skips {first}; the job {happens}"
    happens = "runs both times" if expression.wildcard else "runs once, the first time"
    return f"{at} shows {first} twice; the job {happens}"
