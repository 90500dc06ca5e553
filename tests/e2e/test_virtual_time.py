"""Predicted and real firings side by side: real daemons on a clock that costs nothing."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from virtual_cron import Daemon, Firing, daemon, firings, virtual_clock  # noqa: F401

from maejobs.cron.fields import SPANS, Span
from maejobs.cron.fires import ZONE_VARIABLE, fires
from maejobs.cron.grammar import BadExpression, Expression, parse_expression
from maejobs.cron.wakeup import NAP_SECONDS, Due, catch_up, is_due, local_minute
from maejobs.cron.zone import schedule_zone
from maejobs.home import Home

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.e2e

Real = Callable[..., list[Firing]]
Jumps = Sequence[tuple[timedelta, timedelta]]


@pytest.fixture
def real(daemon: Daemon, virtual_clock: Path, tmp_path: Path) -> Real:  # noqa: F811
    """`real(expressions, zone, start, length, jumps)`: what the daemon fires."""
    runs = iter(range(1_000_000))
    return lambda *case: firings(daemon, virtual_clock, tmp_path / str(next(runs)), *case)


class SimulatedDaemon:
    """Cron's main loop around `wake`, with a clock that can be set."""

    def __init__(
        self, like: Daemon, zone: str, start: datetime, length: timedelta, jumps: Jumps = ()
    ) -> None:
        self.like, self.zone = like, ZoneInfo(zone)
        self.now, self.left = start, length
        self.jumps = [(length - after, by) for after, by in jumps]

    def firings(self, jobs: Sequence[Expression]) -> list[Firing]:
        return list(takewhile(lambda _: self.left > timedelta(0), self._firings(jobs)))

    def _firings(self, jobs: Sequence[Expression]) -> Iterator[Firing]:
        running = virtual = self._local_minute()
        while self.left > timedelta(0):
            while self._local_minute() == running:
                into_minute = timedelta(seconds=self.now.second)
                self._sleep(MINUTE - into_minute + timedelta(seconds=self.like.wakes_at))
            running = self._local_minute()
            started: list[Firing] = []

            def start(due: Due, started: list[Firing] = started) -> bool:
                begun = [
                    Firing(self.now, number) for number, job in enumerate(jobs) if is_due(job, due)
                ]
                started += begun
                return bool(begun)

            virtual = catch_up(virtual, running, start, self._nap, self.like.name)
            yield from started

    def _nap(self) -> int:
        self._sleep(timedelta(seconds=NAP_SECONDS))
        return self._local_minute()

    def _local_minute(self) -> int:
        return local_minute(self.now.astimezone(self.zone))

    def _sleep(self, duration: timedelta) -> None:
        self.now += duration
        self.left -= duration
        while self.jumps and self.left <= self.jumps[0][0]:
            self.now += self.jumps.pop(0)[1]


def side_by_side(
    expressions: Sequence[str], zone: str, predicted: Sequence[Firing], seen: Sequence[Firing]
) -> str:
    """The firings that one side has and the other has not, a table; empty if they agree."""
    counts = [Counter((_minute(f.at), f.job) for f in side) for side in (predicted, seen)]
    rows = [
        f"{at.astimezone(ZoneInfo(zone)):%a %F %H:%M %Z}  {at:%F %H:%M}Z  "
        f"{counts[0][at, job]:9} {counts[1][at, job]:5}  {expressions[job]}"
        for at, job in sorted(counts[0] | counts[1])
        if counts[0][at, job] != counts[1][at, job]
    ]
    head = f"{zone:27}  {'UTC':17}  {'predicted':>9} {'real':>5}  expression"
    return "\n".join([head, *rows[:60]]) if rows else ""


def _minute(at: datetime) -> datetime:
    return at.replace(second=0)


# More missed minutes than a daemon makes up for within one.
MANY_MISSED = ("0-59/5 2 * * *", "0-59 0-23 * * 6-7", "5,7-30 2 * * *", "1-59/2 0,2,3,23 * * *")
# Fixed and wildcard, lists, ranges and steps; at, before and behind the gaps and overlaps of the
# zones below, which lie at 2:00–3:00, at 2:00–2:30 (Lord Howe) and, in autumn, at 1:00–2:00.
EXPRESSIONS = (
    *("30 2 * * *", "15 2 * * *", "0 2 * * *", "59 1 * * *", "0 3 * * *", "30 1 * * *"),
    *("0 1 * * *", "59 2 * * *", "1 3 * * *", "5 3 * * *", "45 2 * * 0", "15 2 29 3 *"),
    *("*/30 2 * * *", "* 2 * * *", "*/7 1-3 * * *", "30 * * * *", "5 */2 * * *", "*/15 * * * *"),
    *("* * * * *", "59 * * * *", "0 */3 * * *", "*/20 1 * * 0", "10-12 * * * *", "*,3 2 * * *"),
    *("0,30 2 * * *", "15,45 1,2,3 * * *", "0-4 2 * * *", "10-50/10 2 * * *", "20 1-3 * * *"),
    *("0 0-23 * * *", "30 0-23 * * *", "0-59/30 2 * * *", "0 2,* * * *", "0 12 * * sun"),
    *MANY_MISSED,
    *("30 2 * 3,10,11 *", "30 2 25 10 0", "@hourly", "@daily", "@midnight", "@weekly"),
)
CHANGES = [
    pytest.param("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC), id="Berlin-spring"),
    pytest.param("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC), id="Berlin-autumn"),
    pytest.param("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC), id="New_York-spring"),
    pytest.param("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC), id="New_York-autumn"),
    pytest.param(
        "Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC), id="Howe-spring"
    ),
    pytest.param("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC), id="Howe-autumn"),
]
ODD_CHANGES = [
    # The last hour of a day is skipped, and comes twice.
    pytest.param("America/Nuuk", datetime(2026, 3, 29, 1, tzinfo=UTC), id="Nuuk-spring"),
    pytest.param("America/Nuuk", datetime(2026, 10, 25, 1, tzinfo=UTC), id="Nuuk-autumn"),
    # Two hours at once, and midnight itself.
    pytest.param("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC), id="Troll-spring"),
    pytest.param("America/Havana", datetime(2026, 3, 8, 5, tzinfo=UTC), id="Havana-spring"),
]


def predictions(
    texts: Sequence[str], zone: str, start: datetime, length: timedelta
) -> list[Firing]:
    """What `fires` foretells for the window a daemon runs in."""
    return [
        Firing(at, job)
        for job, text in enumerate(texts)
        for at in takewhile(
            lambda at: at < start + length,
            fires(parse_expression(text), start, ZoneInfo(zone)),
        )
    ]


def around(change: datetime) -> tuple[datetime, timedelta]:
    """A daemon notices a change for three hours at most (cron(8)); the times above are within."""
    return change - 6 * HOUR, 18 * HOUR


def assert_predicted(
    real: Real, texts: Sequence[str], zone: str, change: datetime, share: slice = slice(None)
) -> None:
    """All at wildcard times, and a share of those at fixed times."""
    window = around(change)
    wildcard = [text for text in texts if parse_expression(text).wildcard]
    fixed = [text for text in texts if text not in wildcard][share]
    # Those at fixed times one by one: what a daemon makes up for after a gap delays its others.
    for together in [wildcard, *([text] for text in fixed)]:
        predicted = predictions(together, zone, *window)
        # Up to six missed minutes of a job are made up for within one minute, which is one slot.
        seen = {Firing(_minute(at), job) for at, job in real(together, zone, *window)}
        if table := side_by_side(together, zone, predicted, list(seen)):
            pytest.fail(table)


@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_predictions_across_a_dst_change_are_the_daemons_firings(
    real: Real, zone, change, pytestconfig
):
    """Of three changes in spring and three in autumn, each expression meets one, or all."""
    one_in = pytestconfig.getoption("--one-in")
    number = [case.values[1] for case in CHANGES].index(change)
    assert_predicted(real, EXPRESSIONS, zone, change, slice(number % one_in, None, one_in))


@pytest.mark.parametrize(("zone", "change"), ODD_CHANGES)
def test_predictions_across_odd_changes_are_the_daemons_firings(real: Real, zone, change):
    late = ("30 23 * * *", "* 23 * * *", "15 0 * * *", "*/5 0 * * *", "0-59 23,0,1 28,29 * *")
    assert_predicted(real, (*MANY_MISSED, *late), zone, change)


def test_cronies_variable_is_the_zone_with_cronie_and_nothing_with_debians(
    real: Real,
    daemon,  # noqa: F811
    monkeypatch,
):
    monkeypatch.setenv(ZONE_VARIABLE, "Europe/Berlin")  # as the daemon is started, below
    above, texts = "CRON_TZ=America/New_York\nTZ=Asia/Tokyo\n", ("30 2 * * *", "*/20 7 * * *")
    zone = schedule_zone(Home(Path("/x"), configured_dialect=daemon.name), above.encode())
    window = (datetime(2026, 5, 5, tzinfo=UTC), 24 * HOUR)
    predicted = predictions(texts, str(zone), *window)
    seen = [
        Firing(_minute(at), job)
        for at, job in real((above + texts[0], texts[1]), "Europe/Berlin", *window)
    ]
    assert len(predicted) == 4
    assert sorted(seen) == sorted(predicted)


@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_a_dst_change_is_a_jump_of_the_local_clock_to_the_daemon(real: Real, daemon, zone, change):  # noqa: F811
    window = around(change)
    jobs = [parse_expression(text) for text in EXPRESSIONS]
    predicted = SimulatedDaemon(daemon, zone, *window).firings(jobs)
    if table := side_by_side(EXPRESSIONS, zone, predicted, real(EXPRESSIONS, zone, *window)):
        pytest.fail(table)


JUMPS = [240, 300, 301, 360, 361, 2 * 3600, 179 * 60, 180 * 60, 181 * 60, 182 * 60, 5 * 3600]


@pytest.mark.parametrize("seconds", [*JUMPS, *(-jump for jump in JUMPS)])
def test_a_clock_that_is_set_runs_what_the_rule_says(real: Real, daemon, seconds):  # noqa: F811
    start = datetime(2026, 5, 5, 0, 30, tzinfo=UTC)
    jumps = [(90 * MINUTE + timedelta(seconds=20), timedelta(seconds=seconds))]
    # Until the clock has come to where it was, and all is as ever again.
    long_enough = timedelta(seconds=abs(seconds)) + 3 * HOUR
    jobs = [parse_expression(text) for text in EXPRESSIONS]
    predicted = SimulatedDaemon(daemon, "UTC", start, long_enough, jumps).firings(jobs)
    seen = real(EXPRESSIONS, "UTC", start, long_enough, jumps)
    if table := side_by_side(EXPRESSIONS, "UTC", predicted, seen):
        pytest.fail(table)


def test_a_clock_that_is_set_again_and_again_runs_what_the_rule_says(real: Real, daemon):  # noqa: F811
    start = datetime(2026, 5, 5, 0, 30, tzinfo=UTC)
    jumps = [
        (n * 47 * MINUTE, timedelta(minutes=by))
        for n, by in enumerate((61, -45, 7, 240, -119, -100, -200, 5, 170, -170, 3, -1, -4), 1)
    ]
    jobs = [parse_expression(text) for text in EXPRESSIONS]
    predicted = SimulatedDaemon(daemon, "Europe/Berlin", start, 8 * HOUR, jumps).firings(jobs)
    seen = real(EXPRESSIONS, "Europe/Berlin", start, 8 * HOUR, jumps)
    if table := side_by_side(EXPRESSIONS, "Europe/Berlin", predicted, seen):
        pytest.fail(table)


YEAR, NEXT_YEAR = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def seldom(count: int, seed: int) -> list[str]:
    """Expressions that fire 1 to 300 times in 2026, by day; the nights have their own tests."""
    draws, found = random.Random(seed), set[str]()
    while len(found) < count:
        text = " ".join(_drawn_field(draws, span) for span in SPANS)
        try:
            expression = parse_expression(text)
        except BadExpression:
            continue
        times = sum(1 for _ in islice(_of_the_year(expression, "UTC"), 301))
        if 1 <= times <= 300 and min(expression.hour.values) > 4:
            found.add(text)
    return sorted(found)


def _drawn_field(draws: random.Random, span: Span) -> str:
    low, high = sorted(draws.choices(range(span.low, span.high + 1), k=2))
    names = [name for name in span.names if span.number(name) in range(low, high + 1)]
    step = draws.randint(1, max(high - low, 1))
    item = draws.choice(
        ("*", str(low), f"{low}-{high}", f"*/{step}", f"{low}-{high}/{step}", *names[:1])
    )
    return draws.choice((item, item, f"{item},{high}", f"{low},{item}"))


def _of_the_year(expression: Expression, zone: str) -> Iterator[datetime]:
    coming = fires(expression, YEAR - MINUTE, ZoneInfo(zone))
    return takewhile(lambda at: at < NEXT_YEAR, coming)


@pytest.mark.slow
def test_a_year_of_expressions_drawn_at_random(real: Real) -> None:
    zone = "Europe/Berlin"
    texts = seldom(40, seed=13)
    predicted = [
        Firing(at, job)
        for job, text in enumerate(texts)
        for at in _of_the_year(parse_expression(text), zone)
    ]
    seen = real(texts, zone, YEAR, NEXT_YEAR - YEAR)
    assert side_by_side(texts, zone, predicted, seen) == ""
    assert len(predicted) > 500
