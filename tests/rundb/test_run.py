"""A run as a record: there and back, and what is no record."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_runs import NIGHT, a_run

from maejobs.rundb.run import PREDECESSORS, SUCCEEDED, Run, run_name

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)


def test_a_record_comes_back_as_it_was():
    run = a_run(command=["sh", "-c", "écho"], pid=7, pid_started=1.25, deadline=NIGHT)
    assert Run.from_json(run.to_json()) == run


def test_a_record_of_a_later_maejobs_is_read_for_what_is_known():
    text = json.dumps(json.loads(a_run().to_json()) | {"planet": "Mars"})
    assert Run.from_json(text) == a_run()


def test_times_come_back_in_utc():
    text = a_run().to_json().replace("2026-03-01T02:00:00+00:00", "2026-03-01T03:00:00+01:00")
    assert Run.from_json(text).slot == NIGHT
    assert Run.from_json(text).slot.tzinfo is UTC


@pytest.mark.parametrize(
    "change",
    [
        {"id": 5},
        {"id": None},
        {"job": ["x"]},
        {"queued": None},
        {"queued": 5},
        {"slot": "tomorrow"},
        {"pid": 10**30},
        {"pid": True},
        {"pid": "7"},
        {"command": ["a", 1]},
        {"command": "a"},
        {"directory": "\ud800"},
        {"reason": "a\0b"},
        {"state": "sleeping"},
        {"attempt": 1.5},
    ],
    ids=str,
)
def test_what_no_database_could_hold_is_no_record(change):
    text = json.dumps(json.loads(a_run().to_json()) | change)
    with pytest.raises(ValueError):  # noqa: PT011 - the words are json's or datetime's
        Run.from_json(text)


@given(st.one_of(st.text(), JSON.map(json.dumps)))
def test_any_other_text_is_no_record(text):
    with pytest.raises(ValueError):  # noqa: PT011
        Run.from_json(text)


@given(st.sampled_from(sorted(Run.__dataclass_fields__)), JSON)
def test_a_damaged_record_is_one_or_is_refused(name, value):
    text = json.dumps(json.loads(a_run().to_json()) | {name: value})
    try:
        run = Run.from_json(text)
    except ValueError:
        return
    assert Run.from_json(run.to_json()) == run


def test_a_run_is_named_for_its_job_slot_and_attempt():
    assert run_name("pretrain", datetime(2026, 11, 24, 2, 0, tzinfo=UTC), 1) == (
        "pretrain-20261124T0200Z-1"
    )


def test_nothing_follows_success():
    assert all(SUCCEEDED not in before for before in PREDECESSORS.values())


def test_a_duration_needs_both_ends():
    assert a_run().duration is None
    assert a_run(finished=a_run().started + timedelta(seconds=2)).duration == 2
    assert a_run(finished=a_run().queued).duration is None  # the clock was set back
