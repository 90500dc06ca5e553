"""status: what it says of jobs that are paused, unknown, or never got as far as running."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from databases import take_away

from maejobs.rundb.database import open_database
from maejobs.rundb.record import write_run
from maejobs.rundb.run import FAILED, QUEUED, SUCCEEDED, Run

QUICK = 'command = ["true"]\n'


def row(inside, job="quick"):
    return next(r for r in json.loads(inside("status", "--json").stdout) if r["job"] == job)


def test_the_reason_for_a_pause_is_shown_and_can_be_changed(write_job, inside):
    write_job("quick", 'command = ["false"]\n')
    inside("run", "quick")
    assert "exit code 1" in inside("status").stdout
    inside("pause", "quick", "--reason", "GPU lent to Anna")
    shown = inside("status").stdout
    assert "on pause: GPU lent to Anna" in shown
    assert "exit code 1" not in shown
    assert (row(inside)["paused"], row(inside)["pause_reason"]) == (True, "GPU lent to Anna")
    again = inside("pause", "quick", "--reason", "GPU sold")
    assert again.returncode == 0
    assert "stays paused" in again.stdout
    assert row(inside)["pause_reason"] == "GPU sold"
    assert "paused already" in inside("pause", "quick").stdout
    assert row(inside)["pause_reason"] == "GPU sold"
    inside("resume", "quick")
    assert (row(inside)["paused"], row(inside)["pause_reason"]) == (False, None)


def test_a_changed_reason_does_not_change_since_when(home, write_job, inside):
    write_job("quick", QUICK)
    inside("pause", "quick")
    (file,) = home.paused_dir.iterdir()
    since = json.loads(file.read_text())["since"]
    inside("pause", "quick", "--reason", "x")
    assert json.loads(file.read_text()) == {"since": since, "reason": "x"}


@pytest.mark.parametrize("text", ["", "[]", "nonsense", '{"reason": 5}'])
def test_a_pause_whose_file_is_damaged_is_a_pause(home, write_job, inside, text):
    write_job("quick", QUICK)
    (home.paused_dir / "quick.json").write_text(text)
    assert "on pause" in inside("status").stdout


@pytest.mark.both_databases
def test_while_the_database_is_away_no_state_is_told(home, write_job, inside):
    write_job("quick", QUICK)
    assert "never ran" in inside("status").stdout
    take_away(home)
    done = inside("status")
    assert "never ran" not in done.stdout
    assert "  ?  " in done.stdout
    assert "unknown" not in done.stdout  # which is a state that runs have
    assert row(inside)["state"] is None
    assert done.returncode == 1


def test_a_job_whose_file_is_gone_is_told_as_such(home, write_job, inside):
    write_job("quick", QUICK)
    inside("run", "quick")
    (home.jobs_dir / "quick.toml").unlink()
    write_job("other", "command = 3\n")
    shown = inside("status").stdout
    assert "its file is gone" in shown
    assert shown.count("has an error: see `maejobs doctor`") == 1
    assert row(inside)["problem"] == "its file is gone"


@pytest.mark.parametrize(
    ("days", "state", "is_shown"),
    [(29, SUCCEEDED, True), (31, SUCCEEDED, False), (31, QUEUED, True)],
)
def test_a_deleted_job_is_shown_for_thirty_days(home, inside, days, state, is_shown):
    at = datetime.now(UTC) - timedelta(days=days)
    ended = None if state == QUEUED else at
    run = Run(
        id="old-m", job="old", trigger="manual", attempt=1, queued=at, started=ended,
        finished=ended, state=state, host="elsewhere", directory="/none",
    )  # fmt: skip
    with open_database(home) as engine:
        write_run(engine, run)
    jobs = [row["job"] for row in json.loads(inside("status", "--json").stdout)]
    assert jobs == ["old"] * is_shown
    assert "old-m" in inside("runs", "old").stdout


def test_a_job_of_old_that_has_a_file_or_a_line_stays(home, write_job, inside):
    at = datetime.now(UTC) - timedelta(days=400)
    for job in ("with-file", "with-line"):
        write_job(job, QUICK)
        run = Run(
            id=f"{job}-m", job=job, trigger="manual", attempt=1, queued=at, started=at,
            finished=at, state=SUCCEEDED, host="elsewhere", directory="/none",
        )  # fmt: skip
        with open_database(home) as engine:
            write_run(engine, run)
    inside("schedule", "with-line", "0 2 * * *")
    (home.jobs_dir / "with-line.toml").unlink()
    jobs = [row["job"] for row in json.loads(inside("status", "--json").stdout)]
    assert jobs == ["with-file", "with-line"]


def test_a_crontab_that_cannot_be_read_is_not_taken_for_an_empty_one(home, write_job, inside):
    write_job("quick", QUICK)
    assert "not scheduled" in inside("status").stdout
    Path(home.crontab).unlink(missing_ok=True)
    Path(home.crontab).mkdir()
    for command in ("status", "plan", "digest"):
        told = inside(command)
        assert told.returncode == 1
        assert "scheduled" not in told.stdout.replace("what is scheduled is not known", ""), command
        assert "not known" in told.stdout
    asked = inside("plan", "quick")
    assert "is not scheduled" not in asked.stdout + asked.stderr
    assert row(inside)["schedule_known"] is False
    for command in ("digest", "plan"):
        assert json.loads(inside(command, "--json").stdout)["schedule_known"] is False


def test_a_length_is_never_negative(home, inside, write_job):
    write_job("quick", QUICK)
    now = datetime.now(UTC)
    run = Run(
        id="quick-m", job="quick", trigger="manual", attempt=1, queued=now, started=now,
        finished=now - timedelta(hours=1), state=SUCCEEDED, host="here", directory="/none",
    )  # fmt: skip
    with open_database(home) as engine:
        write_run(engine, run)
    assert row(inside)["duration_seconds"] is None


@pytest.mark.parametrize(
    ("state", "finished"), [(FAILED, timedelta(hours=3)), (QUEUED, None)], ids=["failed", "queued"]
)
def test_a_run_that_never_started_is_dated_by_what_is_known(
    home, write_job, inside, state, finished
):
    write_job("quick", QUICK)
    queued = datetime.now(UTC) - timedelta(hours=3, minutes=5)
    run = Run(
        id="quick-m", job="quick", trigger="manual", attempt=1, queued=queued, state=state,
        finished=finished and datetime.now(UTC) - finished, host="elsewhere", directory="/none",
    )  # fmt: skip
    with open_database(home) as engine:
        write_run(engine, run)
    assert "3 h ago" in inside("status").stdout


@pytest.fixture
def write_past(home):
    """`write_past(state, **fields)` writes a run of `quick` that took an hour."""

    def write(state, **fields):
        began = datetime.now(UTC) - timedelta(hours=3)
        run = Run(
            id="quick-m", job="quick", trigger="manual", attempt=1, queued=began, state=state,
            started=began, finished=began + timedelta(hours=1), host="elsewhere",
            directory="/none", **fields,
        )  # fmt: skip
        with open_database(home) as engine:
            write_run(engine, run)

    return write


def test_what_was_suspiciously_fast_is_said_wherever_its_length_is(write_job, inside, write_past):
    write_job("quick", QUICK)
    write_past(SUCCEEDED, pace="fast")
    assert "suspiciously fast" in inside("status").stdout
    assert "1h 00m 00s (fast!)" in inside("runs").stdout
    assert "1h 00m 00s (fast!)" in inside("show", "quick").stdout
    assert (row(inside)["pace"], row(inside)["failure_class"]) == ("fast", None)


@pytest.mark.both_databases
def test_the_class_of_a_failure_is_shown(write_job, inside, write_past):
    write_job("quick", QUICK)
    write_past(FAILED, failure_class="no_space", reason="exit code 1: the disk was full")
    assert "exit code 1: the disk was full" in inside("status").stdout
    assert "exit code 1: the disk was full" in inside("runs").stdout
    assert "no_space" in inside("show", "quick").stdout
    assert (row(inside)["pace"], row(inside)["failure_class"]) == (None, "no_space")
    (run,) = json.loads(inside("runs", "--json").stdout)
    assert (run["pace"], run["failure_class"]) == (None, "no_space")
