"""The rule for clocks that jump; held against the real daemons in e2e/test_virtual_time.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.cron.wakeup import LONGEST_JUMP, Due, wake

NOON = 29_000_000

# Minutes between one wake-up and the next as the clock shows them; mostly one, as on most days.
jumps = st.lists(st.one_of(st.just(1), st.integers(-179, 180).filter(bool)), max_size=60)


def due(virtual: int, clock: int) -> list[Due]:
    return wake(virtual, clock)[0]


def test_the_next_minute_runs_every_job():
    assert wake(NOON, NOON + 1) == ([Due(NOON + 1, wildcard=True, fixed=True)], NOON + 1)


def test_a_daemon_five_minutes_late_runs_every_missed_minute():
    assert due(NOON, NOON + 5) == [Due(NOON + n, True, True) for n in range(1, 6)]


@pytest.mark.parametrize("ahead", [6, 60, 180])
def test_a_longer_jump_runs_wildcards_once_and_catches_up_on_fixed_jobs(ahead):
    first, *rest = due(NOON, NOON + ahead)
    assert first == Due(NOON + ahead, wildcard=True)
    assert rest == [Due(NOON + n, fixed=True) for n in range(1, ahead + 1)]


@pytest.mark.parametrize("behind", [0, 1, 60, 179])
def test_a_clock_set_back_runs_wildcards_while_virtual_time_stands(behind):
    assert wake(NOON, NOON - behind) == ([Due(NOON - behind, wildcard=True)], NOON)


@pytest.mark.parametrize("ahead", [-100_000, -181, -180, 181, 100_000])
def test_a_clock_set_by_hand_starts_afresh(ahead):
    clock = NOON + ahead
    assert wake(NOON, clock) == ([Due(clock, wildcard=True, fixed=True)], clock)


def test_cronie_takes_three_hours_back_for_a_short_way_and_debian_for_a_long_one():
    assert wake(NOON, NOON - 180, "cronie") == ([Due(NOON - 180, wildcard=True)], NOON)
    assert wake(NOON, NOON - 181, "cronie") == ([Due(NOON - 181, True, True)], NOON - 181)
    assert wake(NOON, NOON - 180, "debian") == ([Due(NOON - 180, True, True)], NOON - 180)


@given(jumps)
def test_the_fixed_jobs_of_a_minute_run_once_each_while_no_jump_is_longer_than_three_hours(jumps):
    virtual = clock = NOON
    ran: list[int] = []
    for jump in jumps:
        # Nobody sets a clock back twice past three hours behind the virtual time without noticing.
        clock = max(clock + jump, virtual - LONGEST_JUMP + 1)
        clock = min(clock, virtual + LONGEST_JUMP)
        dues, virtual = wake(virtual, clock)
        ran += [due.minute for due in dues if due.fixed]
    assert ran == list(range(NOON + 1, virtual + 1))


@given(jumps)
def test_wildcard_jobs_run_in_each_minute_the_clock_is_seen_in(jumps):
    virtual = clock = NOON
    for jump in jumps:
        clock += jump
        dues, virtual = wake(virtual, clock)
        assert [due.minute for due in dues if due.wildcard][-1] == clock


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_virtual_time_never_passes_the_clock_except_to_wait_for_it(virtual, clock):
    _, after = wake(virtual, clock)
    assert after == clock or (after == virtual and 0 <= virtual - clock < LONGEST_JUMP)
