"""Which slots have no run."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.cron.fires import fires, next_fire
from maejobs.cron.grammar import parse_expression
from maejobs.watch.missed import MOST_AT_ONCE, late_by, missed_slots

NIGHT = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
MINUTES = st.integers(-5000, 5000).map(lambda minutes: timedelta(minutes=minutes))


def nightly(after: datetime) -> datetime:
    return next_fire(parse_expression("0 2 * * *"), after, UTC)


def every(minutes: int) -> Callable[[datetime], datetime]:
    step = timedelta(minutes=minutes)
    return lambda after: NIGHT + ((after - NIGHT) // step + 1) * step


def days(count: float) -> timedelta:
    return timedelta(days=count)


def test_slots_without_a_run_are_missed_oldest_first():
    slots = missed_slots(NIGHT + days(2.5), NIGHT - days(1.5), timedelta(0), nightly, [NIGHT])
    assert slots == [NIGHT - days(1), NIGHT + days(1), NIGHT + days(2)]


def test_a_slot_is_not_missed_until_it_is_late():
    late = timedelta(minutes=10)
    since = NIGHT - days(0.5)
    assert missed_slots(NIGHT + late - timedelta(seconds=1), since, late, nightly, []) == []
    assert missed_slots(NIGHT + late, since, late, nightly, []) == [NIGHT]


def test_the_slot_that_was_looked_at_last_is_not_looked_at_again():
    assert missed_slots(NIGHT + days(0.5), NIGHT, timedelta(0), nightly, []) == []


def test_a_job_that_never_fires_misses_nothing():
    assert missed_slots(NIGHT, NIGHT - days(9), timedelta(0), lambda after: None, []) == []


def test_of_a_month_of_minutes_the_newest_are_told():
    slots = missed_slots(NIGHT, NIGHT - days(30), timedelta(0), every(1), [])
    assert len(slots) == MOST_AT_ONCE
    assert slots[-1] == NIGHT


def test_a_clock_that_was_turned_back_misses_nothing():
    assert missed_slots(NIGHT, NIGHT + days(3), timedelta(0), nightly, []) == []


@given(MINUTES, MINUTES, MINUTES.map(abs), st.integers(1, 600), st.sets(st.integers(-50, 50)))
def test_each_slot_is_missed_once_however_often_one_looks(since, now, late, step, started):
    slots = {NIGHT + n * timedelta(minutes=step) for n in started}
    next_slot = every(step)
    since, now = NIGHT + min(since, now), NIGHT + max(since, now)
    at_once = missed_slots(now, since, late, next_slot, slots)

    assert at_once == sorted(set(at_once) - slots)
    assert all(since < slot <= now - late for slot in at_once)
    between = since + (now - since) / 2
    first = missed_slots(between, since, late, next_slot, slots)
    second = missed_slots(now, max(since, between - late), late, next_slot, slots)
    assert (first + second)[-MOST_AT_ONCE:] == at_once
    assert not set(first) & set(second)


@given(
    st.sampled_from(["0 2 * * *", "*/7 * * * *", "30 1 * * 0", "0 0 29 2 *", "@hourly", "@reboot"]),
    st.integers(0, 5 * 1440),
    st.integers(0, 600),
)
def test_they_are_the_slots_at_which_cron_fires(text, minutes, late):
    expression = parse_expression(text)
    now = NIGHT + timedelta(minutes=minutes)
    end = now - timedelta(minutes=late)
    expected = list(takewhile(lambda slot: slot <= end, fires(expression, NIGHT, UTC)))
    found = missed_slots(
        now,
        NIGHT,
        timedelta(minutes=late),
        partial(next_fire, expression, zone=UTC),
        [],
    )
    assert found == expected[-MOST_AT_ONCE:]


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("now", "due", "since", "last_slot", "late"),
    [
        (NIGHT + HOUR, NIGHT, NIGHT - HOUR, None, HOUR),
        (NIGHT + HOUR, NIGHT, NIGHT - HOUR, NIGHT - 24 * HOUR, HOUR),
        (NIGHT + HOUR, NIGHT, NIGHT - HOUR, NIGHT, None),  # it has a run
        (NIGHT + HOUR, NIGHT, NIGHT, None, None),  # scheduled only then
        (NIGHT + HOUR / 12, NIGHT, NIGHT - HOUR, None, None),  # may still start
        (NIGHT + HOUR, None, NIGHT - HOUR, None, None),
        (NIGHT + HOUR, NIGHT, None, None, None),
    ],
)
def test_a_due_slot_without_a_run_is_late_once_its_grace_is_over(now, due, since, last_slot, late):
    assert late_by(now, due, timedelta(minutes=10), since, last_slot) == late
