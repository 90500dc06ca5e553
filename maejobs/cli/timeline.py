"""Draws a plan: a row a job and day, the hours across. Pure: a plan in, characters out."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from math import ceil, floor

from maejobs.cli.output import GAP, length
from maejobs.watch.collisions import Effect, collisions
from maejobs.watch.outlook import Outlook
from maejobs.watch.plan import Firing

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
TICKS = 8  # one every three hours
OFTEN = 24  # what fires more often in a day is told, not drawn


@dataclass(frozen=True)
class Ink:
    """The characters a timeline is drawn with."""

    usual: str
    long: str
    unknown: str
    bound: str
    deadline: str
    lost: str
    grid: str


FINE = Ink("█", "░", "?", "┄", "│", "×", "·")
PLAIN = Ink("#", "=", "?", "-", "|", "x", ".")


@dataclass(frozen=True)
class Day:
    """The drawing of the days `first` to `last`, which look the same: job → its row."""

    first: date
    last: date
    rows: dict[str, str]


def draw(outlook: Outlook, width: int, ink: Ink = FINE) -> list[Day]:
    """The days on which something runs, in rows of `width` cells, a multiple of `TICKS`.

    Jobs stand in the order of the times of day at which they first fire.
    """
    lost = {
        (met.second.job.name, met.second.slot)
        for met in collisions(outlook.firings)
        if met.effect is not Effect.WAITS
    }
    earliest: dict[str, time] = {}
    for firing in outlook.firings:
        at, name = firing.slot.astimezone(outlook.zone).time(), firing.job.name
        earliest[name] = min(at, earliest.get(name, at))
    order = sorted(earliest, key=lambda name: (earliest[name], name))
    days: list[Day] = []
    for day, by_job in sorted(_by_day(outlook).items()):
        rows = {
            name: _row(by_job[name], day, outlook, width, ink, lost)
            for name in order
            if name in by_job
        }
        if days and days[-1].rows == rows and days[-1].last + DAY == day:
            days[-1] = Day(days[-1].first, day, rows)
        else:
            days.append(Day(day, day, rows))
    return days


def filled(keys: Iterable[str], columns: int) -> list[str]:
    """The legend's keys in as few lines of so many columns as hold them."""
    lines: list[str] = []
    for key in keys:
        if lines and len(lines[-1] + GAP + key) <= columns:
            lines[-1] += GAP + key
        else:
            lines.append(key)
    return lines


def _by_day(outlook: Outlook) -> dict[date, dict[str, list[Firing]]]:
    """The firings that are under way on each local day of the plan, by job."""
    days: dict[date, dict[str, list[Firing]]] = defaultdict(lambda: defaultdict(list))
    for firing in outlook.firings:
        ends = (firing.slot, firing.long_end, firing.deadline)
        end = min(max(filter(None, ends)), outlook.until)
        day = firing.slot.astimezone(outlook.zone).date()
        # What ends at midnight is not seen on the day that begins then.
        while day <= max(firing.slot, end - MINUTE).astimezone(outlook.zone).date():
            days[day][firing.job.name].append(firing)
            day += DAY
    return days


def _row(
    firings: list[Firing],
    day: date,
    outlook: Outlook,
    width: int,
    ink: Ink,
    lost: set[tuple[str, datetime]],
) -> str:
    starting = [f for f in firings if f.slot.astimezone(outlook.zone).date() == day]
    if len(starting) > OFTEN:
        return _told(starting)
    midnight = datetime.combine(day, time.min)
    row = [ink.grid if cell % (width // TICKS) == 0 else " " for cell in range(width)]
    strokes: list[tuple[int, int, int, str]] = []

    def cell(at: datetime) -> float:
        return (at.astimezone(outlook.zone).replace(tzinfo=None) - midnight) * width / DAY

    for firing in firings:
        ends = (firing.usual_end, firing.long_end, firing.deadline)
        usual, long, deadline = (None if end is None else cell(end) for end in ends)
        is_lost = (firing.job.name, firing.slot) in lost
        strokes += _strokes(cell(firing.slot), usual, long, deadline, is_lost)
    for _, first, last, kind in sorted(strokes):
        cells = range(max(first, 0), min(last, width))
        for number in cells:
            row[number] = getattr(ink, kind)
    return "".join(row)


def _strokes(
    slot: float, usual: float | None, long: float | None, deadline: float | None, lost: bool
) -> Iterator[tuple[int, int, int, str]]:
    """What is drawn of a firing: (layer, first cell, cell behind the last, kind of ink)."""
    start = floor(slot)
    if usual is None or long is None:
        yield 2, start, start + 1, "unknown"
        if deadline is not None:
            yield 0, start, ceil(deadline), "bound"
    else:
        yield 0, start, ceil(long), "long"
        yield 1, start, max(ceil(usual), start + 1), "usual"
    if deadline is not None:
        end = max(floor(deadline), start + 1)
        yield 3, end, end + 1, "deadline"
    if lost:
        yield 4, start, start + 1, "lost"


def _told(firings: list[Firing]) -> str:
    """Many firings in words: `every 5 min, 288 times, 12s each`."""
    gaps = {later.slot - one.slot for one, later in pairwise(firings)}
    times = f"{len(firings)} times"
    if len(gaps) == 1:
        times = f"every {gaps.pop() // MINUTE} min, {times}"
    usual = firings[0].job.expected.usual
    return f"{times}, {length(usual.total_seconds())} each" if usual is not None else times
