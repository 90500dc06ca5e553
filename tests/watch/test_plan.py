"""What comes, how long it will take, and what goes wrong with it."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.cron.grammar import parse_expression
from maejobs.errors import UserError
from maejobs.watch import plan
from maejobs.watch.collisions import Effect, collisions
from maejobs.watch.expectation import Expectation, PastRun, expectation, percentile
from maejobs.watch.plan import Firing, PlannedJob, firings
from maejobs.watch.problems import Kind, Problem, problems

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def taking(usual: float, long: float | None = None) -> Expectation:
    """Runs that take `usual` hours, or `long` ones."""
    return Expectation(hours(usual), hours(usual if long is None else long), runs=9)


CAMPAIGN = Expectation(to_deadline=True, runs=9)


def job(name: str, *expressions: str, **keys) -> PlannedJob:
    locks = frozenset(keys.pop("locks", ()))
    return PlannedJob(name, tuple(map(parse_expression, expressions)), locks=locks, **keys)


def found(*jobs: PlannedJob, days: float = 1, now: datetime = NOON, zone=UTC) -> list[Problem]:
    until = now + timedelta(days=days)
    return problems(jobs, firings(jobs, now, until, zone), now, until, zone)


def told(*jobs: PlannedJob, **window) -> list[str]:
    return [problem.text for problem in found(*jobs, **window)]


PRETRAIN = job("pretrain", "0 2 * * *", until=time(6), expected=CAMPAIGN, locks=["gpu0"])


def past(hours_taken: float, state="succeeded", outcome=None, deadline: float | None = None):
    end = NOON + hours(hours_taken)
    return PastRun(
        "x", state, outcome, NOON, end, None if deadline is None else NOON + hours(deadline)
    )


def test_half_of_the_runs_are_no_longer_than_p50_and_95_percent_no_longer_than_p95():
    lengths = [hours(n) for n in range(1, 101)]
    assert (percentile(lengths, 50), percentile(lengths, 95)) == (hours(50), hours(95))
    assert percentile(lengths[:19], 95) == hours(19)
    assert percentile(lengths[:1], 50) == hours(1)


@given(st.lists(st.integers(0, 10**6), min_size=1), st.integers(1, 100))
def test_a_percentile_is_a_length_that_was_and_as_many_are_no_longer(seconds, percent):
    lengths = [timedelta(seconds=n) for n in seconds]
    value = percentile(lengths, percent)
    assert value in lengths
    assert 100 * sum(length <= value for length in lengths) >= percent * len(lengths)
    assert 100 * sum(length < value for length in lengths) < percent * len(lengths)


def test_nights_that_pause_at_their_deadline_do_not_count_as_lengths():
    nights = [past(4, outcome="paused", deadline=4)] * 5
    assert expectation(nights).to_deadline
    assert expectation(nights).usual is None
    assert expectation([past(4.001, deadline=4)] * 5).to_deadline  # stopped well, saying nothing
    mixed = expectation([*nights[:2], past(1), past(2), past(3)])
    assert (mixed.usual, mixed.long, mixed.to_deadline) == (hours(2), hours(3), False)


def test_what_was_stopped_took_at_least_so_long():
    stopped = expectation([past(1, state="timed_out", deadline=1)] * 3 + [past(0.5)])
    assert (stopped.usual, stopped.overruns, stopped.overruns_often) == (hours(1), 3, True)
    assert expectation([]) == Expectation()


def test_a_firing_ends_when_its_past_says_but_not_after_its_deadline():
    ends = {}
    for name, keys in {
        "short": {"expected": taking(1, 2), "timeout": hours(3)},
        "long": {"expected": taking(1, 9), "timeout": hours(3)},
        "campaign": {"expected": CAMPAIGN, "until": time(6)},
        "bounded": {"timeout": hours(3)},
        "unknown": {},
    }.items():
        (one,) = firings([job(name, "0 2 * * *", **keys)], NOON, NOON + hours(24), UTC)
        span = [end and (end - one.slot) for end in (one.usual_end, one.long_end, one.busy_until)]
        ends[name] = [length and length / hours(1) for length in span]
    grace = 30 / 3600
    assert ends == {
        "short": [1, 2, 2],
        "long": [1, 3, 3 + grace],
        "campaign": [4, 4, 4 + grace],
        "bounded": [None, None, 3 + grace],
        "unknown": [None, None, None],
    }


def test_firings_come_in_order_and_a_slot_of_two_entries_once():
    jobs = [job("b", "0 2 * * *", "0 2,3 * * *"), job("a", "0 2 * * *", "@reboot")]
    coming = firings(jobs, NOON, NOON + hours(24), UTC)
    assert [(f.job.name, f.slot.hour) for f in coming] == [("a", 2), ("b", 2), ("b", 3)]


def test_the_end_of_the_window_belongs_to_it_and_its_beginning_does_not():
    coming = firings([job("a", "0 12 * * *")], NOON, NOON + hours(48), UTC)
    assert [f.slot for f in coming] == [NOON + hours(24), NOON + hours(48)]


def test_more_firings_than_can_be_looked_through_are_refused(monkeypatch):
    monkeypatch.setattr(plan, "MOST_FIRINGS", 100)
    with pytest.raises(UserError, match="too many to look through"):
        firings([job("a", "* * * * *")], NOON, NOON + hours(24), UTC)


def test_a_job_whose_lock_is_held_would_be_skipped():
    evaluate = job("evaluate", "30 5 * * *", locks=["gpu0"])
    (problem,) = found(PRETRAIN, evaluate)
    assert problem.text == (
        "evaluate Wed 25 Nov 05:30 would be skipped: "
        "pretrain of 02:00 holds gpu0 until 06:00, its deadline"
    )
    assert (problem.kind, problem.job, problem.other, problem.lock, problem.effect) == (
        Kind.COLLISION, "evaluate", "pretrain", "gpu0", Effect.SKIPPED,
    )  # fmt: skip
    assert problem.costs_a_run


def test_jobs_that_share_no_lock_do_not_collide():
    assert found(PRETRAIN, job("evaluate", "30 5 * * *", locks=["gpu1"])) == []
    assert found(PRETRAIN, job("evaluate", "0 7 * * *", locks=["gpu0"])) == []


@pytest.mark.parametrize(
    ("slot", "keys", "expected"),
    [
        ("55 5", {"overlap": "wait", "wait": timedelta(minutes=10)}, "would wait"),
        ("45 5", {"overlap": "wait", "wait": timedelta(minutes=10)}, "would be skipped"),
        ("45 5", {"overlap": "wait", "timeout": timedelta(minutes=10)}, "would wait"),
        ("45 5", {"overlap": "wait", "until": time(5, 55)}, "would be skipped"),
        ("45 5", {"overlap": "replace"}, "would be skipped"),
    ],
    ids=[
        "waits",
        "waits too short",
        "its timeout counts from its start",
        "its window ends first",
        "replaces only its own",
    ],
)
def test_what_becomes_of_the_second_is_what_the_gates_do(slot, keys, expected):
    (text,) = told(PRETRAIN, job("evaluate", f"{slot} * * *", locks=["gpu0"], **keys))
    assert f"evaluate Wed 25 Nov 05:{slot[:2]} {expected}" in text


def test_a_run_that_is_told_to_stop_still_has_its_grace_which_is_told_to_the_second():
    assert told(PRETRAIN, job("evaluate", "0 6 * * *", locks=["gpu0"])) == [
        "evaluate Wed 25 Nov 06:00 may be skipped: "
        "pretrain of 02:00 holds gpu0 until 06:00:30, its deadline and grace"
    ]


def test_long_and_unknown_runs_only_may_be_in_the_way():
    late = job("late", "30 5 * * *", locks=["gpu0"])
    sometimes = job("sometimes", "0 2 * * *", locks=["gpu0"], expected=taking(1, 4))
    never_ran = job("never", "0 2 * * *", locks=["gpu0"], timeout=hours(5))
    boundless = job("boundless", "0 2 * * *", locks=["gpu0"])
    assert told(sometimes, late) == [
        "late Wed 25 Nov 05:30 may be skipped: "
        "sometimes of 02:00 holds gpu0 until 06:00, on a long day (p95)"
    ]
    assert told(never_ran, late) == [
        "late Wed 25 Nov 05:30 may be skipped: never of 02:00 holds gpu0 until 07:00 "
        "at the latest; how long it takes is not known yet"
    ]
    assert found(boundless, late) == []


def test_of_two_that_start_at_once_one_loses():
    one, other = (job(name, "0 2 * * *", locks=["gpu0"]) for name in ("one", "other"))
    (problem,) = found(one, other)
    assert problem.text == (
        "one and other both start Wed 25 Nov 02:00 and need gpu0: one of them is skipped"
    )
    patient = job("patient", "0 2 * * *", locks=["gpu0"], overlap="wait", expected=taking(0.1))
    assert "one may be skipped" in told(one, patient)[0]
    too = job("too", "0 2 * * *", locks=["gpu0"], overlap="wait", expected=taking(0.1))
    assert "one waits for the other" in told(patient, too)[0]


def test_a_p95_longer_than_the_gap_to_the_next_slot_is_told_once_with_a_count():
    (problem,) = found(job("collect", "0 * * * *", expected=taking(0.5, 1.25)), days=2)
    assert (problem.kind, problem.count, problem.certain) == (Kind.OVERRUN, 47, False)
    assert problem.text == (
        "collect Tue 24 Nov 14:00 may be skipped: "
        "its run of 13:00 goes on until 14:15, on a long day (p95)"
    )


def test_two_entries_of_one_job_get_in_each_others_way():
    twice = job("twice", "0 2 * * *", "0 3 * * *", timeout=hours(2), overlap="replace")
    assert told(twice) == [
        "twice Wed 25 Nov 03:00 may stop the run before it: its run of 02:00 goes on until 04:00 "
        "at the latest; how long it takes is not known yet"
    ]


def test_a_timeout_alone_does_not_accuse_a_frequent_job():
    assert found(job("frequent", "*/5 * * * *", timeout=hours(1))) == []


def test_a_deadline_before_the_expected_end_is_told():
    report = job("report", "0 2 * * *", timeout=hours(1), expected=taking(1.5))
    assert told(report, days=3) == [
        "report Wed 25 Nov 02:00 would be stopped at 03:00, its deadline: "
        "as a rule it takes until 03:30"
    ]
    often = Expectation(hours(1), hours(1), runs=4, overruns=3)
    (problem,) = found(job("report", "0 2 * * *", timeout=hours(2), expected=often), days=3)
    assert (problem.kind, problem.count) == (Kind.DEADLINE, 3)
    assert problem.text.endswith("its deadline: so were 3 of its last 4 runs")


def test_a_campaigns_deadline_is_no_problem():
    assert found(PRETRAIN, days=30) == []


SPRING = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 24, 12, 0, tzinfo=UTC)


def test_in_spring_a_slot_is_moved_or_skipped():
    jobs = [job("fixed", "30 2 * * *"), job("wild", "*/30 2 * * *"), job("all", "*/30 * * * *")]
    assert told(*jobs, now=SPRING, zone=BERLIN, days=2) == [
        "fixed Sun 29 Mar 02:30 is left out by the clocks: it runs at 03:00 (30 2 * * *)",
        "wild Sun 29 Mar 02:00 is left out by the clocks: it is skipped (*/30 2 * * *)",
    ]
    assert told(*jobs, now=SPRING - timedelta(days=2), zone=BERLIN, days=2) == []


def test_in_autumn_a_slot_comes_twice():
    jobs = [job("fixed", "30 2 * * *"), job("wild", "*/30 2 * * *")]
    (problem,) = found(*jobs, now=AUTUMN, zone=BERLIN, days=2)
    assert problem.kind == Kind.CLOCK
    assert problem.text == "wild Sun 25 Oct 02:00 comes twice: it runs twice (*/30 2 * * *)"


def test_a_night_that_is_shorter_or_longer_is_told():
    night = job("night", "0 22 * * *", until=time(6), expected=CAMPAIGN)
    limited = job("limited", "0 22 * * *", timeout=hours(8))
    assert told(night, limited, now=SPRING, zone=BERLIN, days=3) == [
        "night Sat 28 Mar 22:00 has 1 h less until Sun 06:00, its deadline: the clocks go forward"
    ]
    assert told(night, now=AUTUMN, zone=BERLIN, days=3) == [
        "night Sat 24 Oct 22:00 has 1 h more until Sun 06:00, its deadline: the clocks go back"
    ]


def test_half_an_hour_at_lord_howe():
    texts = told(
        job("night", "0 1 * * *", until=time(5)), job("fixed", "15 2 * * *"),
        now=datetime(2026, 10, 3, 0, 0, tzinfo=UTC), zone=ZoneInfo("Australia/Lord_Howe"), days=2,
    )  # fmt: skip
    assert texts == [
        "night Sun 04 Oct 01:00 has 30 min less until 05:00, its deadline: the clocks go forward",
        "fixed Sun 04 Oct 02:15 is left out by the clocks: it runs at 02:30 (15 2 * * *)",
    ]


def test_who_is_surely_skipped_is_in_nobodys_way():
    first = job("a", "0 2 * * *", locks=["gpu0"], expected=taking(3))
    skipped = job("b", "55 4 * * *", locks=["gpu0"], expected=taking(0.2))
    after = job("c", "1 5 * * *", locks=["gpu0"], expected=taking(0.1))
    assert [problem.job for problem in found(first, skipped, after)] == ["b"]


def test_of_a_job_that_outlasts_its_own_next_slot_every_second_is_skipped():
    (problem,) = found(job("a", "*/5 * * * *", expected=taking(7 / 60)))
    assert problem.count == 144


def test_more_collisions_than_can_be_looked_through_are_refused(monkeypatch):
    monkeypatch.setattr("maejobs.watch.collisions.MOST_COLLISIONS", 100)
    with pytest.raises(UserError, match="too many to look through"):
        found(job("a", "* * * * *", locks=["x"]), job("b", "* * * * *", locks=["x"]))


def sharing(gpus: int, *jobs: PlannedJob) -> list[str]:
    until = NOON + timedelta(days=1)
    coming = firings(jobs, NOON, until, UTC)
    return [problem.text for problem in problems(jobs, coming, NOON, until, UTC, gpus)]


def test_jobs_collide_that_ask_for_more_gpus_than_there_are():
    train = job("train", "0 2 * * *", gpus=1, expected=taking(4))
    evaluate = job("evaluate", "0 5 * * *", gpus=1, expected=taking(1))
    assert sharing(2, train, evaluate) == []
    assert sharing(1, train, evaluate) == [
        "evaluate Wed 25 Nov 05:00 would be skipped: "
        "train of 02:00 holds a GPU until 06:00, as a rule"
    ]
    waiting = job("evaluate", "0 5 * * *", gpus=1, gpu_wait=hours(2), expected=taking(1))
    (text,) = sharing(1, train, waiting)
    assert "would wait" in text


def test_a_job_that_names_a_gpu_takes_one_of_those_that_others_ask_for():
    named = job("named", "0 2 * * *", locks=["gpu0"], expected=taking(4))
    other = job("other", "0 3 * * *", locks=["gpu1"], expected=taking(4))
    asking = job("asking", "0 5 * * *", gpus=1, expected=taking(1))
    assert sharing(2, named, other) == []
    assert sharing(3, named, other, asking) == []
    assert len(sharing(2, named, other, asking)) == 2


def test_who_may_still_hold_a_gpu_is_not_said_to_hold_it():
    train = job("train", "0 2 * * *", gpus=1, expected=taking(2, 4))
    evaluate = job("evaluate", "0 5 * * *", gpus=1, expected=taking(1))
    (text,) = sharing(1, train, evaluate)
    assert text.startswith("evaluate Wed 25 Nov 05:00 may be skipped: train")


def test_a_month_of_every_minute_is_folded():
    every = [job(f"job{n}", "* * * * *", locks=["disk"], expected=taking(0.5)) for n in range(3)]
    texts = found(*every, days=30)
    assert len(texts) < 20
    assert max(problem.count for problem in texts) > 40_000


LENGTHS = st.none() | st.integers(0, 300).map(lambda minutes: timedelta(minutes=minutes))
EXPRESSIONS = st.sampled_from(
    ["*/20 * * * *", "0 * * * *", "30 */2 * * *", "5,10,15 1-9 * * *", "45 3 * * *", "0 0 * * *"]
).map(parse_expression)
JOBS = st.builds(
    PlannedJob,
    st.sampled_from("abcd"),
    st.lists(EXPRESSIONS, min_size=1, max_size=2, unique=True).map(tuple),
    timeout=LENGTHS,
    grace=st.sampled_from([timedelta(0), timedelta(minutes=5)]),
    overlap=st.sampled_from(["skip", "wait", "replace"]),
    locks=st.frozensets(st.sampled_from(["gpu0", "gpu1"])),
    expected=st.tuples(LENGTHS, st.integers(0, 90)).map(
        lambda drawn: (
            Expectation(drawn[0], drawn[0] + timedelta(minutes=drawn[1]))
            if drawn[0] is not None
            else Expectation()
        )
    ),
)


def in_the_way(first: Firing, second: Firing) -> bool:
    """Whether, by the plain words of it, the one holds what the other needs when it comes."""
    if not (first.job.name == second.job.name or first.job.locks & second.job.locks):
        return False
    if first.long_end is None and first.expression == second.expression and first.job is second.job:
        return False
    return first.slot == second.slot or second.slot < (first.busy_until or first.slot)


def surely_skips(first: Firing, second: Firing) -> bool:
    """Whether the second is not started, even if the first takes no longer than it usually does."""
    own = first.job.name == second.job.name
    if first.slot == second.slot or first.usual_end is None:
        return False
    if second.job.overlap == "replace" and own:
        return False
    patience = timedelta(0)
    if second.job.overlap == "wait":
        patience = second.job.wait
        if second.closes is not None:
            patience = min(patience, second.closes - second.slot)
    return first.usual_end - second.slot > patience


@given(st.lists(JOBS, min_size=1, max_size=4, unique_by=lambda job: job.name))
def test_every_collision_is_one_and_none_is_left_out(jobs):
    coming = firings(jobs, NOON, NOON + hours(12), UTC)
    met = list(collisions(coming))
    assert all(in_the_way(collision.first, collision.second) for collision in met)
    assert all(c.lock is None or c.lock in c.first.job.locks & c.second.job.locks for c in met)
    entries = [
        (c.first.job.name, c.first.expression.text, c.second.job.name, c.second.slot) for c in met
    ]
    assert len(entries) == len(set(entries))
    started: list[Firing] = []
    expected = set()
    for second in coming:
        ways = [first for first in started if in_the_way(first, second)]
        expected |= {(f.job.name, f.expression.text, second.job.name, second.slot) for f in ways}
        named: dict[tuple[str, str], Firing] = {}  # of an entry's runs the longest is judged by
        for first in sorted(ways, key=lambda first: first.busy_until or first.slot):
            named[first.job.name, first.expression.text] = first
        if not any(surely_skips(first, second) for first in named.values()):
            started.append(second)
    assert set(entries) == expected
