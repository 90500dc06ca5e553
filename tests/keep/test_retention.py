"""What a policy keeps and drops, and the reasons it gives."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.errors import UserError
from maejobs.keep.checkpoint import StoredCheckpoint
from maejobs.keep.retention import Decision, Policy, plan_retention, remarks

from .campaigns import name_of

NIGHT = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
ONLY_NEWEST = {"keep_last": 0}


def night(day: int, **fields) -> StoredCheckpoint:
    return StoredCheckpoint(
        Path(name_of(day)), name_of(day), day, NIGHT + timedelta(days=day), 1, **fields
    )


def nights(*days: int) -> list[StoredCheckpoint]:
    return [night(day) for day in days]


def plan(checkpoints: list[StoredCheckpoint], **policy) -> list[Decision]:
    return plan_retention(checkpoints, Policy(**ONLY_NEWEST | policy), UTC)


def kept(decisions: list[Decision]) -> set[int]:
    return {decision.checkpoint.step for decision in decisions if decision.keep}


def reasons(decisions: list[Decision]) -> dict[int, tuple[str, ...]]:
    return {decision.checkpoint.step: decision.reasons for decision in decisions}


def test_nothing_there_nothing_decided():
    assert plan([]) == []


def test_the_newest_valid_stays_though_no_rule_keeps_it():
    assert reasons(plan(nights(1, 2))) == {2: ("newest valid",), 1: ("no rule keeps it",)}


def test_the_last_three_stay_unless_told_otherwise():
    assert kept(plan_retention(nights(1, 2, 3, 4, 5), Policy(), UTC)) == {3, 4, 5}


def test_days_without_a_checkpoint_use_up_nothing():
    assert kept(plan(nights(0, 1, 20), daily=2)) == {20, 1}


def test_of_one_day_the_newest_stays():
    morning = night(1)
    evening = StoredCheckpoint(
        Path(name_of(2)), name_of(2), 2, morning.created + timedelta(hours=9), 1
    )

    assert kept(plan([morning, evening, night(3)], daily=2)) == {3, 2}


def test_days_are_those_of_the_hosts_zone():
    late = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)  # in Tokyo, the second of March
    pair = [
        StoredCheckpoint(Path(name_of(step)), name_of(step), step, at, 1)
        for step, at in ((1, late), (2, late + timedelta(hours=3)))
    ]

    assert kept(plan_retention(pair, Policy(keep_last=0, daily=2), UTC)) == {1, 2}
    assert kept(plan_retention(pair, Policy(keep_last=0, daily=2), ZoneInfo("Asia/Tokyo"))) == {2}


def test_weeks_and_months_follow_the_calendar():
    year = nights(*range(0, 365))

    weekly = plan(year, weekly=3)
    monthly = plan(year, monthly=3)

    # 2027-02-28 is a Sunday; the weeks before it end on the Sundays before.
    assert kept(weekly) == {364, 357, 350}
    assert kept(monthly) == {364, 364 - 28, 364 - 28 - 31}


def test_the_week_of_new_year_is_one_week():
    days = [datetime(2026, 12, 31, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)]
    pair = [StoredCheckpoint(Path(name_of(i)), name_of(i), i, at, 1) for i, at in enumerate(days)]

    assert kept(plan(pair, weekly=2)) == {1}
    assert kept(plan(pair, monthly=2)) == {0, 1}


def test_every_kept_checkpoint_says_why():
    assert reasons(plan(nights(0, 1), keep_last=1, daily=1, monthly=1)) == {
        1: ("newest valid", "last", "daily", "monthly"),
        0: ("no rule keeps it",),
    }


def test_pinned_ones_stay_damaged_or_not():
    decisions = plan([night(1, pinned=True), night(2, pinned=True, problem="torn"), night(3)])

    assert kept(decisions) == {1, 2, 3}
    assert reasons(decisions)[2] == ("pinned",)


def test_a_damaged_one_goes_and_displaces_no_good_one():
    decisions = plan([*nights(1, 2), night(3, problem="torn")], keep_last=2, daily=2)

    assert kept(decisions) == {1, 2}
    assert reasons(decisions)[3] == ("invalid: torn",)


def test_where_no_valid_one_is_left_nothing_goes():
    decisions = plan([night(1, problem="torn"), night(2, problem="empty")])

    assert kept(decisions) == {1, 2}
    assert reasons(decisions)[1] == ("no valid checkpoint to replace it: invalid: torn",)


def test_what_nobody_here_can_judge_stays_and_counts_for_nothing():
    newer = night(9, problem="format 2 is newer", judged=False)

    decisions = plan([*nights(1, 2), newer], keep_last=1)

    assert kept(decisions) == {9, 2}
    assert reasons(decisions)[9] == ("not ours to judge: format 2 is newer",)


def test_the_best_is_the_lowest_unless_told_otherwise():
    scored = [night(day, metrics={"knn": score}) for day, score in ((1, 0.9), (2, 0.1), (3, 0.5))]

    assert kept(plan(scored, best=1, metric="knn")) == {3, 2}
    assert kept(plan(scored, best=1, metric="knn", higher_is_better=True)) == {3, 1}
    assert reasons(plan(scored, best=1, metric="knn"))[2] == ("best knn",)


@pytest.mark.parametrize("higher_is_better", [False, True])
def test_of_equally_good_ones_the_newest_stays(higher_is_better):
    scored = [night(day, metrics={"knn": 0.5}) for day in (1, 2)]

    decisions = plan([*scored, night(3)], best=1, metric="knn", higher_is_better=higher_is_better)

    assert kept(decisions) == {3, 2}


def test_a_damaged_one_is_never_the_best():
    damaged = night(1, metrics={"knn": 0.0}, problem="torn")
    scored = night(2, metrics={"knn": 0.5})

    assert kept(plan([damaged, scored, night(3)], best=1, metric="knn")) == {3, 2}


def test_an_unknown_metric_names_the_known_ones_and_decides_nothing():
    scored = [night(1, metrics={"knn": 0.5, "loss": 1.0}, evaluated=True), night(2)]

    with pytest.raises(UserError, match=r"no checkpoint has the metric kmm; known: knn, loss"):
        plan(scored, best=1, metric="kmm")


def test_before_the_first_evaluation_the_other_rules_hold_and_it_is_said():
    unscored = [night(day, metrics={"loss": 1.0}) for day in (1, 2, 3)]
    policy = Policy(keep_last=2, best=1, metric="knn")

    assert kept(plan_retention(unscored, policy, UTC)) == {2, 3}
    assert remarks(unscored, policy) == (
        "no checkpoint has a knn yet, so none is kept as the best",
    )
    assert remarks(unscored, Policy(best=1, metric="loss")) == ()


@pytest.mark.parametrize("rule", ["keep_last", "daily", "weekly", "monthly", "best"])
def test_a_negative_count_is_refused(rule):
    with pytest.raises(UserError, match=f"{rule} = -1"):
        Policy(**{"metric": "knn", rule: -1})


def test_best_without_a_metric_is_refused():
    with pytest.raises(UserError, match="metric"):
        Policy(best=1)


COUNTS = st.integers(0, 5)
CHECKPOINTS = st.dictionaries(
    st.integers(0, 400),
    st.builds(
        dict,
        pinned=st.booleans(),
        problem=st.sampled_from([None, None, "torn"]),
        metrics=st.dictionaries(st.just("knn"), st.floats(-9, 9), max_size=1),
    ),
    max_size=25,
).map(lambda drawn: [night(day, **fields) for day, fields in drawn.items()])
POLICIES = st.fixed_dictionaries(
    dict.fromkeys(("keep_last", "daily", "weekly", "monthly", "best"), COUNTS)
    | {"metric": st.just("knn"), "higher_is_better": st.booleans()}
)


@given(CHECKPOINTS, POLICIES, POLICIES)
def test_more_generous_policies_keep_more(checkpoints, policy, more):
    generous = policy | {
        rule: policy[rule] + more[rule]
        for rule in ("keep_last", "daily", "weekly", "monthly", "best")
    }

    assert kept(plan(checkpoints, **policy)) <= kept(plan(checkpoints, **generous))


@given(CHECKPOINTS, POLICIES)
def test_newest_valid_and_pinned_stay_whatever_the_policy(checkpoints, policy):
    stay = kept(plan(checkpoints, **policy))

    assert {c.step for c in checkpoints if c.pinned} <= stay
    if valid := [c.step for c in checkpoints if c.valid]:
        assert max(valid) in stay
    else:
        assert stay == {c.step for c in checkpoints}


@given(CHECKPOINTS, POLICIES)
def test_damaged_ones_change_nothing_for_the_good_ones(checkpoints, policy):
    good = [c for c in checkpoints if c.valid]

    assert kept(plan(good, **policy)) == kept(plan(checkpoints, **policy)) & {c.step for c in good}


@given(CHECKPOINTS, POLICIES)
def test_every_decision_has_a_reason(checkpoints, policy):
    assert all(decision.reasons for decision in plan(checkpoints, **policy))
