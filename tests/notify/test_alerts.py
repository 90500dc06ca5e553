"""When somebody is told: once on the change, once on the recovery, of nothing that is nobody's."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maejobs.jobs.model import Notify
from maejobs.notify.alerts import Outcome, change_of, message_of, outcomes

NIGHT = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


def past(*states: str) -> list[Outcome]:
    """A night each, the last one now."""
    nights = [NIGHT - timedelta(days=n) for n in range(len(states))][::-1]
    return [
        Outcome(f"job-{at:%d}", state, "exit code 1", "host", at, at)
        for at, state in zip(nights, states, strict=True)
    ]


def told(states: list[str], told_bad: bool = False, now: datetime = NIGHT, **rules):
    return change_of("job", past(*states), Notify(**rules), told_bad, now)


@pytest.mark.parametrize("state", ["failed", "timed_out", "lost", "missed"])
def test_a_bad_end_is_told_once(state):
    change = told(["succeeded", state])
    assert (change.count, change.outcome.state) == (1, state)
    assert told(["succeeded", state], told_bad=True) is None


def test_a_recovery_is_told_once():
    assert told(["failed", "succeeded"], told_bad=True).count == 0
    assert told(["failed", "succeeded"]) is None


@pytest.mark.parametrize("state", ["unknown", "skipped", "cancelled"])
def test_what_is_not_the_jobs_fault_is_not_told_and_hides_nothing(state):
    assert told(["succeeded", state]) is None
    assert told(["failed", state], told_bad=True) is None
    assert told(["failed", state, "failed"], alert_after=2).count == 2
    assert told(["failed", state], alert_after=2) is None


def test_a_job_may_ask_to_be_told_of_skipped_slots_and_of_nothing_else():
    assert told(["skipped", "skipped"], on=["skipped"], alert_after=2).count == 2
    assert told(["failed", "failed"], on=["skipped"]) is None


def test_it_is_told_after_so_many_in_a_row():
    assert told(["failed", "failed"], alert_after=3) is None
    assert told(["failed", "succeeded", "failed", "failed"], alert_after=3) is None
    assert told(["failed", "failed", "failed"], alert_after=3).count == 3


def test_what_ended_long_ago_is_no_news_but_its_recovery_is():
    later = NIGHT + timedelta(days=3)
    assert told(["failed"], now=later) is None
    assert told(["succeeded"], told_bad=True, now=later).count == 0


STATES = ["succeeded", "failed", "lost", "missed", "unknown", "skipped", "cancelled"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(STATES), max_size=40), st.integers(1, 4))
def test_what_is_told_agrees_with_a_count_by_hand(states, alert_after):
    """Judged after each night, and once more in between, as by two senders."""
    bad, row, expected, found = False, 0, [], []
    for state in states:
        row = 0 if state == "succeeded" else row + (state in ("failed", "lost", "missed"))
        if not bad and row == alert_after:
            bad = True
            expected.append("bad")
        elif bad and row == 0:
            bad = False
            expected.append("well")
    told_bad = False
    for night in range(len(states)):
        for _ in range(2):
            change = told(states[: night + 1], told_bad, alert_after=alert_after)
            if change:
                told_bad = change.count > 0
                found.append("bad" if told_bad else "well")
    assert found == expected


def row(run: str, state: str, slot: datetime | None = NIGHT):
    return SimpleNamespace(
        id=run, state=state, reason=None, host="host", finished=NIGHT, queued=NIGHT, slot=slot
    )


def states_of(*rows, settled=lambda run: True):
    return [one.state for one in outcomes(rows, settled)]


def test_of_a_slot_the_last_try_counts():
    assert states_of(row("b", "succeeded"), row("a", "failed")) == ["succeeded"]


def test_a_retry_that_a_gate_skipped_hides_no_failure():
    assert states_of(row("b", "skipped"), row("a", "failed")) == ["failed"]
    assert states_of(row("c", "skipped"), row("b", "skipped"), row("a", "lost")) == ["lost"]
    assert states_of(row("a", "skipped")) == ["skipped"]


@pytest.mark.parametrize(("settled", "told"), [("c", ["failed"]), ("b", []), ("a", [])])
def test_whether_a_skipped_retry_was_the_last_is_for_the_newest_to_say(settled, told):
    rows = (row("c", "skipped"), row("b", "skipped"), row("a", "failed"))
    assert states_of(*rows, settled=lambda run: run.id == settled) == told


def test_a_slot_that_is_still_being_tried_does_not_count_yet():
    assert states_of(row("b", "running"), row("a", "failed")) == []
    assert states_of(row("a", "failed"), settled=lambda run: False) == []


def test_a_run_by_hand_counts_only_if_it_went_well():
    assert states_of(row("b", "succeeded", None), row("a", "failed", None)) == ["succeeded"]


def test_a_reason_is_short_and_drives_no_pager():
    change = told(["failed"])
    nasty = replace(change.outcome, reason="a\n\x1b[2J\u202e\ud800" + "x" * 99_999)
    body = message_of(replace(change, outcome=nasty), NIGHT, UTC).body
    assert "reason: a \ufffd[2J\ufffd\ufffdx" in body
    assert len(body) < 1000


def test_a_message_tells_what_happened_and_no_line_of_a_log():
    change = told(["succeeded", "failed", "failed"], alert_after=2)
    message = message_of(change, NIGHT, UTC)
    assert message.title == "maejobs: job failed, the 2nd time in a row"
    assert "last success: Sun 22 Nov 02:00" in message.body
    assert "reason: exit code 1" in message.body
    assert message_of(told(["failed", "succeeded"], told_bad=True), NIGHT, UTC).title == (
        "maejobs: job is well again"
    )
