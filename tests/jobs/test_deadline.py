"""When a run must have stopped, over nights on which the clocks jump as well."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maejobs.jobs.deadline import deadline_of, next_time_of_day

BERLIN = ZoneInfo("Europe/Berlin")
SLOT = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)  # two in the morning in Berlin
MINUTE = timedelta(minutes=1)
# Half-hour jumps, a skipped day, a zone without summer time, jumps at midnight.
ZONES = [
    ZoneInfo(name)
    for name in (
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Asia/Kathmandu",
        "America/Havana",
        "UTC",
    )
]


def utc(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)


def test_until_is_local_time_on_the_morning_after_the_slot():
    assert deadline_of(SLOT, SLOT, time(6, 0), None, BERLIN) == utc(2026, 11, 24, 5, 0)


def test_a_timeout_counts_from_the_start_not_from_the_slot():
    start = SLOT + 20 * MINUTE

    assert deadline_of(SLOT, start, None, timedelta(hours=1), BERLIN) == start + timedelta(hours=1)


@pytest.mark.parametrize(
    ("hours", "end"), [(2, utc(2026, 11, 24, 3, 0)), (9, utc(2026, 11, 24, 5))]
)
def test_of_both_the_earlier_counts(hours, end):
    assert deadline_of(SLOT, SLOT, time(6, 0), timedelta(hours=hours), BERLIN) == end


def test_a_job_without_either_has_none():
    assert deadline_of(SLOT, SLOT, None, None, BERLIN) is None


def test_a_run_that_starts_after_its_window_has_a_deadline_in_the_past():
    start = SLOT + timedelta(hours=6)

    assert deadline_of(SLOT, start, time(6, 0), None, BERLIN) < start


def test_a_slot_at_the_time_of_day_itself_has_a_whole_day():
    assert next_time_of_day(utc(2026, 11, 24, 5, 0), time(6, 0), BERLIN) == utc(2026, 11, 25, 5, 0)


def test_a_time_that_spring_skips_comes_as_much_later_as_the_clocks_jump():
    assert next_time_of_day(utc(2026, 3, 28, 22), time(2, 30), BERLIN) == utc(2026, 3, 29, 1, 30)


def test_a_time_that_autumn_shows_twice_counts_twice():
    first, second = utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 1, 30)

    assert next_time_of_day(utc(2026, 10, 24, 22), time(2, 30), BERLIN) == first
    assert next_time_of_day(first, time(2, 30), BERLIN) == second


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.integers(0, 26 * 365 * 24 * 60).map(lambda minutes: utc(2009, 1, 1) + minutes * MINUTE),
    st.times(),
)
def test_no_clock_shows_the_time_earlier(zone, after, at):
    at = at.replace(second=0, microsecond=0)

    found = next_time_of_day(after, at, zone)

    minutes = (after + i * MINUTE for i in range(1, 60 * 49 + 1))
    first = next(t for t in minutes if t.astimezone(zone).time() == at)
    assert after < found <= first
    if found != first:  # only where the clocks skipped the time on that very day
        shown = found.astimezone(zone)
        assert shown.time() > at
        assert shown.utcoffset() > (found - timedelta(hours=25)).astimezone(zone).utcoffset()


@given(st.sampled_from(ZONES), st.integers(0, 365 * 24 * 60), st.integers(0, 365 * 24 * 60))
def test_a_later_slot_never_ends_earlier(zone, one, other):
    slots = sorted(utc(2026, 1, 1) + minutes * MINUTE for minutes in (one, other))

    earlier, later = (next_time_of_day(slot, time(2, 30), zone) for slot in slots)

    assert earlier <= later
