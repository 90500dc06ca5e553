"""Whether maejobs was there, and the file that remembers it."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.watch.heartbeat import beat
from maejobs.watch.presence import (
    INTERVAL,
    LONGEST_SILENCE,
    MOST_SPANS,
    Span,
    is_trusted,
    joined,
    was_there,
    with_sign,
)

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
INSTANTS = st.integers(-3000, 3000).map(lambda minutes: NOON + timedelta(minutes=minutes))
SPANS = st.lists(st.tuples(INSTANTS, INSTANTS).map(sorted).map(lambda pair: Span(*pair)))


def signs(*instants: datetime) -> list[Span]:
    spans: list[Span] = []
    for instant in instants:
        spans = with_sign(spans, instant, DAY)
    return spans


def test_signs_of_life_every_few_minutes_are_one_span():
    assert signs(*(NOON + n * INTERVAL for n in range(50))) == [Span(NOON, NOON + 49 * INTERVAL)]


def test_a_longer_silence_ends_a_span():
    assert signs(NOON, NOON + LONGEST_SILENCE) == [Span(NOON, NOON + LONGEST_SILENCE)]
    later = NOON + LONGEST_SILENCE + SECOND
    assert signs(NOON, later) == [Span(NOON, NOON), Span(later, later)]


def test_what_is_long_past_is_forgotten():
    assert signs(NOON, NOON + DAY + SECOND) == [Span(NOON + DAY + SECOND, NOON + DAY + SECOND)]


def test_what_a_wrong_clock_left_in_the_future_goes_when_it_is_right_again():
    assert signs(NOON + 3 * DAY, NOON) == [Span(NOON, NOON)]
    assert with_sign([Span(NOON - HOUR, NOON + DAY)], NOON, DAY) == [Span(NOON - HOUR, NOON)]


def test_the_memory_is_bounded():
    spans = [Span(NOON + n * HOUR, NOON + n * HOUR) for n in range(2 * MOST_SPANS)]
    kept = with_sign(spans, spans[-1].end, 999 * DAY)
    assert (len(kept), kept[-1]) == (MOST_SPANS, spans[-1])


@given(SPANS)
def test_joined_spans_lie_apart_and_cover_all(spans):
    found = joined(spans)
    assert all(after.start - before.end > LONGEST_SILENCE for before, after in pairwise(found))
    assert all(any(s.start <= start and end <= s.end for s in found) for start, end in spans)
    assert joined(found) == found


@pytest.mark.parametrize(
    ("slot", "booted", "watched", "there"),
    [
        (NOON, None, True, True),
        (NOON - SECOND, None, True, True),  # what cron starts then is recorded seconds later
        (NOON - HOUR, None, True, False),
        (NOON + 2 * HOUR, None, True, False),
        (NOON + 2 * HOUR, NOON, True, False),  # up, but cron was stopped
        (NOON + 2 * HOUR, NOON, False, True),
        (NOON + 2 * HOUR, NOON + 3 * HOUR, False, False),
        (NOON + HOUR, NOON + 3 * HOUR, False, True),
        (NOON + 2 * HOUR, None, False, True),
        (NOON + 2 * HOUR, NOON + 99 * HOUR, False, True),  # a boot that is yet to come says nothing
    ],
)
def test_it_was_there_where_there_are_signs_of_life(slot, booted, watched, there):
    now = NOON + 5 * HOUR
    assert was_there(slot, [Span(NOON, NOON + HOUR)], now, booted, watched) is there


@pytest.mark.parametrize(
    ("signs", "trusted"),
    [
        ([(-30, 0)], True),
        ([(-2, 0)], True),
        ([(-1.9, 0)], False),
        ([(-9.9, -9.8), (-0.1, 0)], True),  # a host that is there once a week
        ([(-30, -10.1), (-1.9, 0)], False),
        ([], False),
    ],
)
def test_a_clock_is_trusted_where_somebody_was_there_some_days_ago(signs, trusted):
    now = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
    spans = [Span(*(now + timedelta(days=day) for day in span)) for span in signs]
    assert is_trusted(spans, now) is trusted


def test_when_it_ran_is_remembered_in_the_home(home):
    beat(home, NOON, DAY)
    assert beat(home, NOON + INTERVAL, DAY) == [Span(NOON, NOON + INTERVAL)]
    assert beat(home, NOON + HOUR, DAY, dry_run=True)[-1] == Span(NOON + HOUR, NOON + HOUR)
    assert beat(home, NOON + 2 * INTERVAL, DAY) == [Span(NOON, NOON + 2 * INTERVAL)]


@pytest.mark.fault
@pytest.mark.parametrize(
    "content",
    [b"", b"[", b"{}", b"7", b'[["2026-03-01", 5]]', b'[["2026-03-01T11:59:00"]]', b"\xff"],
)
def test_a_broken_memory_is_none(home, content):
    beat(home, NOON - INTERVAL, DAY)
    (file,) = home.root.glob("reconciled*")
    file.write_bytes(content)
    assert beat(home, NOON, DAY) == [Span(NOON, NOON)]
    assert beat(home, NOON, DAY) == [Span(NOON, NOON)]


@pytest.mark.fault
def test_what_cannot_be_written_costs_the_note_only(home):
    (home.root / "reconciled.json").mkdir()
    assert beat(home, NOON, DAY) == [Span(NOON, NOON)]


def test_the_page_says_which_silence_is_too_long():
    page = (Path(__file__).parents[2] / "docs" / "supervision.md").read_text()
    minutes = LONGEST_SILENCE // timedelta(minutes=1)
    assert f"no more than {minutes} minutes between two signs of life" in " ".join(page.split())
