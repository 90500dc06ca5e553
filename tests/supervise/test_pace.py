"""What is suspiciously fast or slow after a job's past."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.supervise.pace import ENOUGH, MOST, pace_of

NIGHTS = [14_400.0, 14_100.0, 14_500.0, 14_350.0, 14_420.0, 14_390.0]
WILD = [60.0, 600.0, 6_000.0, 90.0, 2_000.0, 300.0]


@pytest.mark.parametrize(
    ("seconds", "past", "pace"),
    [
        (14_000.0, NIGHTS, None),
        (10_000.0, NIGHTS, None),  # well out of the usual, but no half
        (3.0, NIGHTS, "fast"),
        (40_000.0, NIGHTS, "slow"),
        (3.0, NIGHTS[:4], None),  # too little is known
        (9.0, [0.1] * 9, None),  # a second more or less is nothing
        (12.0, [0.1] * 9, "slow"),
        (0.0, [60.0] * 9, "fast"),
        (20_000.0, WILD, None),
        (-5.0, NIGHTS, "fast"),  # the clock was set back
    ],
)
def test_the_pace_of_a_run_after_those_before(seconds, past, pace):
    assert pace_of(seconds, past) == pace


def test_one_odd_run_in_the_past_changes_nothing():
    assert pace_of(14_000.0, [*NIGHTS, 1.0]) is None
    assert pace_of(3.0, [*NIGHTS, 1.0]) == "fast"


def test_what_was_slow_once_is_usual_when_it_has_been_so_for_long():
    assert pace_of(200.0, [200.0] * 9 + [60.0] * 20) == "slow"
    assert pace_of(200.0, [200.0] * 11 + [60.0] * 20) is None


LENGTHS = st.floats(0, 1e7)


@given(LENGTHS, st.lists(LENGTHS, max_size=30))
def test_a_flag_says_the_truth(seconds, past):
    pace = pace_of(seconds, past)
    recent = sorted(past[:MOST])
    if pace is not None:
        assert len(recent) >= ENOUGH
        below, above = recent[(len(recent) - 1) // 2], recent[len(recent) // 2]
        assert seconds < above if pace == "fast" else seconds > below


@given(st.lists(LENGTHS, min_size=5, max_size=30), LENGTHS, LENGTHS)
def test_a_longer_run_is_not_held_to_be_faster(past, one, other):
    ranks = {"fast": -1, None: 0, "slow": 1}
    shorter, longer = sorted((one, other))
    assert ranks[pace_of(shorter, past)] <= ranks[pace_of(longer, past)]
