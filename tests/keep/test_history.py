"""What of history goes, and when the database may be packed: decisions only."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maejobs.errors import UserError
from maejobs.keep.history import (
    HORIZON,
    Limits,
    Part,
    PastRun,
    Use,
    bounds,
    plan_history,
    why_not_packed,
)
from maejobs.rundb.run import FINISHED, UNFINISHED

NOW = datetime(2026, 11, 28, 3, tzinfo=UTC)
DAY = timedelta(days=1)
SOON = timedelta(minutes=10)


def past(name: str, days: float, state: str = "succeeded", **fields) -> PastRun:
    at = NOW - days * DAY
    finished = at if state in FINISHED else None
    values = {"queued": at, "slot": at, "finished": finished, "has_series": True}
    return PastRun(**{"id": name, "state": state} | values | fields)


def plan(runs: list[PastRun], limits: Limits) -> dict[str, tuple[str, str]]:
    newest_first = sorted((run.queued for run in runs), reverse=True)
    number = limits.runs_count
    nth = newest_first[number - 1] if number and len(newest_first) >= number else None
    removals = plan_history(NOW, runs, bounds(NOW, limits, nth))
    return {removal.run: (removal.part, removal.reason) for removal in removals}


def test_runs_past_their_age_go_and_younger_ones_lose_their_series():
    runs = [past("a", 400), past("b", 200), past("c", 100), past("d", 50, has_series=False)]
    assert plan(runs, Limits(365 * DAY, None, 90 * DAY)) == {
        "a": (Part.RUN, "older than 365 days"),
        "b": (Part.SERIES, "its series are too old"),
        "c": (Part.SERIES, "its series are too old"),
    }
    assert plan(runs, Limits(series_age=30 * DAY)).keys() == {"a", "b", "c"}


def test_runs_beyond_their_number_go():
    runs = [past(name, days) for name, days in (("a", 90), ("b", 80), ("c", 70), ("d", 60))]
    reason = (Part.RUN, "not of the newest 2")
    assert plan(runs, Limits(runs_count=2)) == {"a": reason, "b": reason}
    assert plan(runs, Limits(runs_count=4)) == {}
    assert plan(runs, Limits(runs_count=0)).keys() == set("abcd")


@pytest.mark.parametrize("limits", [Limits(timedelta(0)), Limits(runs_count=0)])
def test_a_run_that_reconcile_may_ask_for_stays_whatever_the_limits(limits):
    days = HORIZON / DAY
    runs = [
        past("just within", days - 0.01),
        past("beyond", days + 0.01),
        past("called late for its slot", days + 1, slot=NOW - HORIZON + DAY),
        past("by hand", days + 1, slot=None),
    ]
    assert plan(runs, limits).keys() == {"beyond", "by hand"}


@pytest.mark.parametrize("state", sorted(UNFINISHED))
def test_a_run_that_goes_on_stays_with_all_it_has(state):
    runs = [past("a", 400, state), past("b", 400, "lost", finished=None)]
    assert plan(runs, Limits(DAY, 0, DAY)) == {}


def test_a_run_that_is_held_stays_with_all_it_has():
    assert plan([past("a", 400, held="the last run of its job")], Limits(DAY, 0, DAY)) == {}


def test_without_limits_nothing_goes():
    assert bounds(NOW, Limits(), None).newest is None
    assert plan([past("a", 4000)], Limits()) == {}
    assert not Limits().any
    assert Limits(runs_count=0).any


@pytest.mark.parametrize("limits", [(-DAY, None, None), (None, -1, None), (None, None, -DAY)])
def test_a_negative_limit_is_refused(limits):
    with pytest.raises(UserError, match="negative"):
        Limits(*limits)


RUNS = st.lists(
    st.tuples(
        st.floats(0, 1000),
        st.sampled_from(sorted(UNFINISHED | FINISHED)),
        st.sampled_from([None, None, "held"]),
        st.booleans(),
        st.one_of(st.none(), st.floats(0, 1000)),
    ),
    max_size=12,
).map(
    lambda drawn: [
        past(
            str(n),
            days,
            state,
            held=held,
            has_series=series,
            slot=NOW - slot * DAY if slot else None,
        )
        for n, (days, state, held, series, slot) in enumerate(drawn)
    ]
)
LIMITS = st.builds(
    Limits,
    st.one_of(st.none(), st.timedeltas(timedelta(0), 1000 * DAY)),
    st.one_of(st.none(), st.integers(0, 12)),
    st.one_of(st.none(), st.timedeltas(timedelta(0), 1000 * DAY)),
)


@settings(deadline=None)
@given(RUNS, LIMITS)
def test_what_must_stay_stays_and_what_goes_is_beyond_a_limit(runs, limits):
    gone = plan(runs, limits)
    by_name = {run.id: run for run in runs}
    for name, (part, _reason) in gone.items():
        run = by_name[name]
        assert run.held is None
        assert run.state in FINISHED
        if part is Part.RUN:
            assert run.queued < NOW - HORIZON
            assert run.slot is None or run.slot <= NOW - HORIZON
            younger = sum(other.queued > run.queued for other in runs)
            too_old = limits.runs_age is not None and run.queued < NOW - limits.runs_age
            assert too_old or (limits.runs_count is not None and younger >= limits.runs_count)
        else:
            assert limits.series_age is not None
            assert run.queued < NOW - limits.series_age


@settings(deadline=None)
@given(RUNS, LIMITS, st.timedeltas(timedelta(0), 500 * DAY))
def test_wider_limits_remove_less(runs, limits, more):
    wide = Limits(
        None if limits.runs_age is None else limits.runs_age + more,
        None if limits.runs_count is None else limits.runs_count + 1,
        limits.series_age,
    )
    whole = {name for name, (part, _) in plan(runs, limits).items() if part is Part.RUN}
    assert {name for name, (part, _) in plan(runs, wide).items() if part is Part.RUN} <= whole


@pytest.mark.parametrize(
    ("use", "free", "why"),
    [
        (Use(), 20, None),
        (Use(), 19, "little to gain"),
        (Use(["pretrain-1"]), 50, "pretrain-1 is under way"),
        (Use((), NOW + SOON - timedelta(seconds=1)), 50, "due within 10 minutes"),
        (Use((), NOW + SOON), 50, None),
    ],
)
def test_the_database_is_packed_when_it_is_worth_it_and_nobody_needs_it(use, free, why):
    told = why_not_packed(NOW, use, SOON, free, 100)
    assert told is None if why is None else why in told
