"""Whether a failed run is tried again, and when."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.jobs.failures import CLASSES, INFRASTRUCTURE, NEVER_TRIED_AGAIN, TRIED_AGAIN
from maejobs.jobs.load import parse_job
from maejobs.supervise.retry import LONGEST_DELAY, MAY_PASS, next_try

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def job(text: str = ""):
    return parse_job(Path("x.toml"), "x", f'command = ["true"]\n{text}\n')


def tries(text: str, *failures: str, deadline=None) -> timedelta | None:
    return next_try(job(text), failures, deadline, NOW)


def test_a_job_that_says_nothing_tries_again_what_the_host_is_to_blame_for():
    assert tries("", "exit_code") is None
    for name in INFRASTRUCTURE:
        assert tries("", name) == MINUTE
    assert tries("", "xid", "oom_killed") == 2 * MINUTE
    assert tries("", "xid", "oom_killed", "stalled") is None


def test_the_two_allowances_are_counted_apart():
    text = "retries = 1\ninfrastructure_retries = 1"
    assert tries(text, "no_space", "exit_code") == 2 * MINUTE
    assert tries(text, "no_space", "exit_code", "no_space") is None
    assert tries(text, "no_space", "exit_code", "signal") is None


@pytest.mark.parametrize("name", ["bad_input", "bad_command", "diverged"])
def test_what_would_happen_again_is_tried_again_only_if_the_job_says_so(name):
    assert tries("retries = 3", name) is None
    assert tries(f'retries = 3\nretry = ["{name}"]', name) == MINUTE


def test_a_job_may_have_nothing_tried_again():
    assert all(tries("retries = 3\nretry = []", name) is None for name in CLASSES)


def test_the_delay_doubles_up_to_an_hour():
    text = 'retries = 20\nretry_delay = "10m"'
    delays = [tries(text, *["exit_code"] * count) for count in range(1, 6)]
    assert [delay / MINUTE for delay in delays if delay] == [10, 20, 40, 60, 60]
    assert tries('retries = 20\nretry_delay = "3h"', *["exit_code"] * 9) == timedelta(hours=3)


def test_no_try_begins_after_the_deadline():
    assert tries("retries = 1", "exit_code", deadline=NOW + MINUTE) is None
    assert tries("retries = 1", "exit_code", deadline=NOW + 1.1 * MINUTE) == MINUTE


def test_what_did_not_fail_is_not_tried_again():
    assert next_try(job("retries = 3"), [None], None, NOW) is None
    assert next_try(job("retries = 3"), ["exit_code", None], None, NOW) is None


@pytest.mark.parametrize("reason", sorted(MAY_PASS))
def test_a_retry_that_a_gate_skipped_is_made_again_within_the_hosts_allowance(reason):
    assert tries("", reason) is None  # the first try, of which the job says how long it waits
    assert tries("retries = 1", "exit_code", reason) == 2 * MINUTE
    assert tries("retries = 2", "exit_code", reason, "exit_code") == 4 * MINUTE
    assert tries("infrastructure_retries = 1", "xid", reason) is None
    assert tries("", "xid", reason, deadline=NOW + MINUTE) is None


@pytest.mark.parametrize("reason", ["paused", "outside_window", "overlap"])
def test_a_retry_that_somebody_does_not_want_is_not_made_again(reason):
    assert tries("", "xid", reason) is None


JOBS = st.builds(
    lambda own, hosts, names, delay: job(
        f"retries = {own}\ninfrastructure_retries = {hosts}\nretry = {names}\nretry_delay = {delay}"
    ),
    st.integers(0, 20),
    st.integers(0, 20),
    st.lists(st.sampled_from(TRIED_AGAIN)).map(lambda names: str(list(names))),
    st.integers(0, 315_360_000),
)
FAILURES = st.lists(st.sampled_from([*CLASSES, *sorted(MAY_PASS), None]), min_size=1, max_size=60)


@given(JOBS, FAILURES, st.one_of(st.none(), st.timedeltas(timedelta(0), timedelta(days=9999))))
def test_a_try_is_within_every_bound(file, failures, left):
    deadline = left and NOW + left
    delay = next_try(file, failures, deadline, NOW)
    if delay is None:
        return
    assert failures[-1] in file.retry or (failures[-1] in MAY_PASS and failures[1:])
    assert failures[-1] not in NEVER_TRIED_AGAIN
    assert file.retry_delay <= delay <= max(file.retry_delay, LONGEST_DELAY)
    assert deadline is None or NOW + delay < deadline
    hosts = [name for name in failures if name in {*INFRASTRUCTURE, *MAY_PASS}]
    if failures[-1] in hosts:
        assert len(hosts) <= file.infrastructure_retries
    else:
        assert len(failures) - len(hosts) <= file.retries
