"""One row a run, changed by compare-and-set, summed up on its job's row."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorded_runs import NIGHT, a_run, row, rows
from sqlalchemy import create_engine

from maejobs.rundb.database import open_database
from maejobs.rundb.queries import find_run, job_rows
from maejobs.rundb.record import SlotTaken, set_job, write_run
from maejobs.rundb.run import (
    CANCELLED,
    CATCH_UP,
    FAILED,
    FINISHED,
    LOST,
    MISSED,
    QUEUED,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    TIMED_OUT,
    UNFINISHED,
    UNKNOWN,
    Run,
)
from maejobs.rundb.schema import metadata

pytestmark = pytest.mark.both_databases
WRITER = """
import sys
from pathlib import Path
from maejobs.home import open_home
from maejobs.rundb.database import open_database
from maejobs.rundb.ingest import ingest
from maejobs.rundb.record import write_run
from recorded_runs import NIGHT, a_run
home, number = open_home(sys.argv[1]), int(sys.argv[2])
stream = home.root / f"events-{number}"
stream.write_text("".join('{"event": "metric", "name": "loss", "value": 1}\\n' for _ in range(20)))
for night in range(2):
    with open_database(home) as engine:
        run = a_run(job=f"job{number % 4}", night=night, attempt=number + 1)
        for state in ("queued", "running", "succeeded"):
            run.state = state
            run.finished = run.queued if state == "succeeded" else None
            assert write_run(engine, run)
        assert ingest(engine, run.id, stream) == 20
"""


def in_state(state: str, **fields) -> Run:
    finished = NIGHT + timedelta(hours=1) if state in FINISHED else None
    return a_run(state=state, finished=finished, **fields)


def state_after(engine, home, *states: str) -> str:
    for state in states:
        write_run(engine, in_state(state))
    return row(home, "SELECT state FROM runs")["state"]


def test_a_run_is_one_row_however_often_it_is_written(engine, home):
    for state in (QUEUED, RUNNING, RUNNING, SUCCEEDED):
        assert write_run(engine, in_state(state))
    assert row(home, "SELECT id, state, finished FROM runs") == {
        "id": "pretrain-20260301T0200Z-1",
        "state": SUCCEEDED,
        "finished": (NIGHT + timedelta(hours=1)).timestamp(),
    }


@pytest.mark.parametrize("verdict", [LOST, MISSED, QUEUED])
@pytest.mark.parametrize("end", [SUCCEEDED, FAILED, TIMED_OUT, CANCELLED])
def test_how_a_run_really_ended_beats_what_was_thought_of_it(engine, home, verdict, end):
    assert state_after(engine, home, verdict, end) == end


def test_a_late_success_takes_the_wrong_verdict_s_reason_with_it(engine, home):
    write_run(engine, in_state(RUNNING))
    write_run(engine, in_state(LOST, reason="its process is gone", failure_class=LOST))
    write_run(engine, in_state(SUCCEEDED))
    assert row(home, "SELECT state, reason, failure_class FROM runs") == {
        "state": SUCCEEDED,
        "reason": None,
        "failure_class": None,
    }
    assert row(home, "SELECT last_state, last_reason FROM jobs") == {
        "last_state": SUCCEEDED,
        "last_reason": None,
    }


@pytest.mark.parametrize("verdict", [MISSED, UNKNOWN])
def test_a_slot_that_nobody_started_is_queued_by_whoever_comes_late(engine, home, verdict):
    write_run(engine, in_state(verdict, reason="no run was started for this slot"))
    assert write_run(engine, in_state(QUEUED, trigger=CATCH_UP))
    assert row(home, "SELECT state, reason, finished, trigger FROM runs") == {
        "state": QUEUED,
        "reason": None,
        "finished": None,
        "trigger": CATCH_UP,
    }
    assert write_run(engine, in_state(RUNNING, trigger="cron"))
    assert row(home, "SELECT trigger FROM runs") == {"trigger": CATCH_UP}


@pytest.mark.parametrize("elsewhere", [{"host": "other"}, {"directory": "/other"}])
def test_a_slot_that_waits_for_its_turn_is_queued_by_nobody_else(engine, home, elsewhere):
    """Two hosts with one database and one job began it both, in the same second."""
    assert write_run(engine, a_run(state=QUEUED))
    assert not write_run(engine, a_run(state=QUEUED, **elsewhere))
    assert write_run(engine, a_run(state=QUEUED, reason="waits for a lock"))


@pytest.mark.parametrize("state", sorted((UNFINISHED | FINISHED) - {SUCCEEDED}))
def test_success_is_never_overwritten(engine, home, state):
    write_run(engine, in_state(SUCCEEDED))
    before = row(home, "SELECT * FROM runs")
    assert not write_run(engine, in_state(state, reason="not so", exit_code=3))
    assert row(home, "SELECT * FROM runs") == before


@pytest.mark.parametrize("end", [FAILED, TIMED_OUT, CANCELLED, SKIPPED])
def test_a_run_that_has_ended_is_neither_lost_nor_started_again(engine, home, end):
    assert state_after(engine, home, RUNNING if end != SKIPPED else QUEUED, end, LOST) == end
    assert state_after(engine, home, RUNNING) == end
    assert state_after(engine, home, QUEUED) == end


def test_a_run_that_is_there_is_not_missed(engine, home):
    assert state_after(engine, home, QUEUED, MISSED) == QUEUED


@pytest.mark.parametrize("verdict", [LOST, MISSED, UNKNOWN])
def test_a_verdict_is_passed_once(engine, home, verdict):
    assert write_run(engine, in_state(verdict, reason="so"))
    assert not write_run(engine, in_state(verdict, reason="so it is"))
    assert row(home, "SELECT reason FROM runs") == {"reason": "so"}


def test_a_record_that_knows_less_unsays_nothing(engine, home):
    write_run(engine, in_state(RUNNING, pid=7, outcome="paused"))
    write_run(engine, in_state(SUCCEEDED))
    assert row(home, "SELECT pid, outcome FROM runs") == {"pid": 7, "outcome": "paused"}


def test_a_slot_and_attempt_has_one_run(engine, home):
    write_run(engine, a_run())
    with pytest.raises(SlotTaken, match="slot 2026-03-01 02:00 UTC, attempt 1"):
        write_run(engine, a_run(id="another"))
    assert len(rows(home, "SELECT * FROM runs")) == 1


def test_runs_by_hand_have_no_slot_and_are_never_in_each_other_s_way(engine, home):
    for name in ("m1", "m2"):
        assert write_run(engine, a_run(id=name, slot=None, trigger="manual"))
    assert len(rows(home, "SELECT * FROM runs")) == 2


def test_the_job_s_row_sums_up_its_newest_run(engine, home):
    write_run(engine, in_state(SUCCEEDED, night=0))
    write_run(engine, a_run(night=1, attempt=1, state=FAILED, reason="exit code 1"))
    write_run(engine, a_run(night=1, attempt=2, state=RUNNING))
    assert row(
        home, "SELECT last_run, last_state, last_reason, last_finished, last_success FROM jobs"
    ) == {
        "last_run": "pretrain-20260302T0200Z-2",
        "last_state": RUNNING,
        "last_reason": None,
        "last_finished": None,
        "last_success": (NIGHT + timedelta(hours=1)).timestamp(),
    }


def test_an_old_success_taken_up_late_does_not_turn_the_job_s_clock_back(engine, home):
    write_run(engine, a_run(night=1, state=SUCCEEDED, finished=NIGHT + timedelta(days=1)))
    write_run(engine, a_run(night=0, state=SUCCEEDED, finished=NIGHT))
    assert row(home, "SELECT last_success, last_run FROM jobs") == {
        "last_success": (NIGHT + timedelta(days=1)).timestamp(),
        "last_run": "pretrain-20260302T0200Z-1",
    }


def test_a_job_s_own_columns_stand_beside_its_runs(engine, home):
    set_job(engine, "pretrain", schedule="0 2 * * *", scheduled_since=NIGHT)
    write_run(engine, a_run())
    assert row(home, "SELECT schedule, scheduled_since, last_state FROM jobs") == {
        "schedule": "0 2 * * *",
        "scheduled_since": NIGHT.timestamp(),
        "last_state": RUNNING,
    }


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 2), st.sampled_from(sorted(UNFINISHED | FINISHED))),
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=30)
@given(STEPS)
def test_whatever_is_written_the_job_s_row_agrees_with_its_runs(steps):
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    succeeded: set[str] = set()
    for night, attempt, state in steps:
        run = in_state(state, night=night, attempt=attempt)
        write_run(engine, replace(run, queued=run.slot + timedelta(seconds=attempt)))
        with engine.begin() as connection:
            stored = connection.exec_driver_sql("SELECT * FROM runs").mappings().all()
            (job,) = connection.exec_driver_sql("SELECT * FROM jobs").mappings().all()
        shown = max(stored, key=lambda r: (r["state"] == RUNNING, r["queued"]))
        for name in ("state", "reason", "outcome", "started", "finished"):
            assert job[f"last_{name}"] == shown[name]
        assert job["last_slot"] == max(r["slot"] for r in stored)
        now_succeeded = {r["id"] for r in stored if r["state"] == SUCCEEDED}
        assert succeeded <= now_succeeded
        succeeded = now_succeeded
        assert job["last_success"] == max(
            (r["finished"] for r in stored if r["state"] == SUCCEEDED), default=None
        )
    engine.dispose()


@pytest.mark.fault
def test_sixteen_writers_at_once_lose_nothing(home, backend):
    count = 16 if backend == "sqlite" else 6  # each is a process
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(home.root), str(number)],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            stderr=subprocess.PIPE,
        )
        for number in range(count)
    ]
    errors = [writer.communicate(timeout=120)[1].decode() for writer in writers]
    assert errors == [""] * count
    assert row(home, "SELECT count(*) n, count(DISTINCT id) d, min(state) s FROM runs") == {
        "n": 2 * count,
        "d": 2 * count,
        "s": SUCCEEDED,
    }
    assert row(home, "SELECT count(*) n FROM metrics") == {"n": 2 * count * 20}
    if backend == "sqlite":
        assert row(home, "PRAGMA integrity_check") == {"integrity_check": "ok"}


def test_a_call_that_was_skipped_does_not_hide_the_run_under_way(home):
    under_way = in_state(RUNNING, night=0, attempt=1)
    skipped = in_state(SKIPPED, night=1, attempt=1)
    with open_database(home) as engine:
        write_run(engine, under_way)
        write_run(engine, skipped)
        assert find_run(engine, under_way.job).id == under_way.id
        assert job_rows(engine)[under_way.job].last_run == under_way.id


def test_a_run_by_hand_does_not_unsay_the_slot_that_was_run(home):
    nightly = in_state(SUCCEEDED, night=0, attempt=1)
    by_hand = replace(nightly, id="by-hand", slot=None, queued=nightly.queued + timedelta(hours=3))
    with open_database(home) as engine:
        write_run(engine, nightly)
        write_run(engine, by_hand)
        row = job_rows(engine)[nightly.job]
    assert (row.last_run, row.last_slot) == ("by-hand", nightly.slot)
