"""Which scheduled minute a call is for."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from maejobs.cron.grammar import parse_expression
from maejobs.home import Home
from maejobs.supervise.slot import LATEST_START, scheduled_expressions, slot_of

BERLIN = ZoneInfo("Europe/Berlin")
NIGHTLY = parse_expression("0 2 * * *")
QUARTERLY = parse_expression("*/15 * * * *")
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
TWO = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)  # in Berlin


def test_a_call_some_seconds_late_is_for_the_scheduled_minute():
    assert slot_of(TWO + timedelta(seconds=37), [NIGHTLY], BERLIN) == TWO


def test_a_call_after_a_clock_jump_is_for_the_minute_that_was_jumped_over():
    assert slot_of(TWO + LATEST_START, [NIGHTLY], BERLIN) == TWO


def test_a_call_by_hand_at_noon_is_not_for_the_night():
    noon = TWO + timedelta(hours=10, seconds=5)

    assert slot_of(noon, [NIGHTLY], BERLIN) == TWO + timedelta(hours=10)


def test_of_several_schedules_the_newest_slot_counts():
    assert slot_of(TWO + timedelta(minutes=20), [NIGHTLY, QUARTERLY], BERLIN) == TWO + timedelta(
        minutes=15
    )


def test_a_job_without_a_schedule_runs_for_this_minute():
    assert slot_of(TWO + timedelta(seconds=59), [], BERLIN) == TWO


@given(
    st.integers(0, 365 * 24 * 3600).map(lambda seconds: NEW_YEAR + timedelta(seconds=seconds)),
    st.lists(st.sampled_from([NIGHTLY, QUARTERLY, parse_expression("30 2 * * 0")]), max_size=3),
    st.sampled_from([BERLIN, ZoneInfo("Australia/Lord_Howe"), UTC]),
)
def test_a_slot_is_a_whole_minute_not_in_the_future_and_not_long_ago(now, expressions, zone):
    slot = slot_of(now, expressions, zone)

    assert slot <= now
    assert now - slot <= LATEST_START
    assert (slot.second, slot.microsecond) == (0, 0)


def test_the_crontab_tells_when_a_job_is_scheduled(home, write_job, inside):
    write_job("quick", 'command = ["true"]\n')
    assert inside("schedule", "quick", "7 3 * * 1-5").returncode == 0

    (expression,) = scheduled_expressions(home, "quick")

    assert expression == parse_expression("7 3 * * 1-5")
    assert scheduled_expressions(home, "other") == []


def test_a_crontab_that_cannot_be_read_costs_exactness_not_the_run(tmp_path, caplog):
    (tmp_path / "crontab").mkdir()

    assert scheduled_expressions(Home(tmp_path, crontab=str(tmp_path / "crontab")), "quick") == []
    assert "could not be read" in caplog.text
