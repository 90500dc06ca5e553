"""Messages on their way: which is due, which waits, which is given up."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maejobs.notify.message import GIVE_UP, Message, failed, sort_out

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


def message(kind: str = "alert", name: str = "m", age: float = 0, **fields) -> Message:
    url = "http://here/1" if kind in ("start", "success", "fail", "log") else None
    created = NOW - timedelta(seconds=age)
    given = {"run": "run", "url": url, "body": "body"} | fields
    return Message(name, kind, created, "title", **given)


def names(messages) -> list[str]:
    return [one.name for one in messages]


def test_the_oldest_goes_first():
    waiting = [message(name="b", age=1), message(name="a", age=2)]
    assert names(sort_out(waiting, NOW, None).due) == ["a", "b"]


def test_a_ping_waits_for_the_one_before_it_and_for_no_other():
    first = message("success", "a", age=9, next_try=NOW + timedelta(minutes=1))
    second = message("start", "b", age=5, run="later")
    other = message("start", "c", age=5, url="http://here/2")
    found = sort_out([first, second, other, message(name="d")], NOW, None)
    assert names(found.due) == ["c", "d"]
    assert found.due_at == NOW + timedelta(minutes=1)


def test_a_start_that_nobody_took_is_dropped_when_its_run_has_ended():
    start = message("start", "a", age=9, tries=1, next_try=NOW + timedelta(minutes=1))
    found = sort_out([start, message("success", "b")], NOW, None)
    assert names(found.due) == ["b"]
    assert names(one for one, _ in found.dropped) == ["a"]
    fresh = sort_out([replace(start, tries=0, next_try=None), message("success", "b")], NOW, None)
    assert names(fresh.due) == ["a"]


def test_people_are_left_in_peace_and_switches_are_not():
    until = NOW + timedelta(hours=5)
    found = sort_out([message(name="a"), message("fail", "b")], NOW, until)
    assert names(found.due) == ["b"]
    assert found.due_at == until


def test_what_is_too_old_is_dropped_for_its_last_trouble():
    old = message(age=GIVE_UP.total_seconds(), trouble="connection refused")
    assert sort_out([old], NOW, None).dropped == [(old, "connection refused")]


def test_a_try_while_the_clock_was_ahead_keeps_nothing_for_years():
    ahead = message(next_try=NOW + timedelta(days=3650))
    assert sort_out([ahead], NOW, None).due == [ahead]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("alert", [10, 30, 90, 270, 810, 2430] + 94 * [3600]),
        ("success", [10, 30, 90, 270, 300, 300]),
    ],
)
def test_each_further_try_waits_longer_up_to_an_hour_and_a_ping_five_minutes(kind, expected):
    one, waits = message(kind), []
    for _ in expected:  # four days of them
        one = failed(one, "no", NOW)
        waits.append((one.next_try - NOW).total_seconds())
    assert waits == expected


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=20), st.lists(st.text(max_size=9), max_size=2), st.integers(0, 10**9))
def test_what_is_written_is_read_back(text, delivered, seconds):
    later = NOW + timedelta(seconds=seconds)
    one = message(name=text, body=text, delivered=tuple(delivered), next_try=later, trouble=text)
    assert Message.from_json(one.to_json()) == one


@pytest.mark.fault
@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"kind": "alert"}', message().to_json()[:-9], "[" * 9999]
)
def test_what_is_no_message_is_told(text):
    with pytest.raises(ValueError, match=r".*"):
        Message.from_json(text)
