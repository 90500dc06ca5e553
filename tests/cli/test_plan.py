"""plan: what comes, drawn; how long it takes, by the runs in the database; what collides."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from databases import take_away
from recorded_runs import NIGHT, a_run

from maejobs.rundb.database import open_database
from maejobs.rundb.queries import measured_runs
from maejobs.rundb.record import write_run
from maejobs.rundb.run import FAILED, SUCCEEDED, TIMED_OUT

EVENING = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
PRETRAIN = 'command = ["true"]\nuntil = "06:00"\nlocks = ["gpu0"]\n'
EVALUATE = 'command = ["true"]\nlocks = ["gpu0"]\n'


@pytest.fixture(autouse=True)
def on_an_evening(monkeypatch):
    monkeypatch.setenv("TZ", "Etc/UTC")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("maejobs.clock.now", lambda: EVENING)


@pytest.fixture
def two_jobs(write_job, inside):
    """Two that need one GPU: evaluate at half past five, pretrain from two to six."""
    write_job("pretrain", PRETRAIN)
    write_job("evaluate", EVALUATE)
    inside("schedule", "pretrain", "0 2 * * *")
    inside("schedule", "evaluate", "30 5 * * *")


@pytest.fixture
def record(home):
    """`record("pretrain", 40, 50)` records a run of so many minutes for each of the first days."""

    def write(job, *minutes, state=SUCCEEDED, **fields):
        with open_database(home) as engine:
            for night, length in enumerate(minutes):
                started = NIGHT + timedelta(days=night)
                finished = started + timedelta(minutes=length)
                run = a_run(job, night, state=state, started=started, finished=finished, **fields)
                assert write_run(engine, run)

    return write


DRAWN = {
    60: """\
Tue 24 Nov  00    03    06    09    12    15    18    21
pretrain    ·   █░·     │     ·     ·     ·     ·     ·
evaluate    ·     ·    ?·     ·     ·     ·     ·     ·
            so until Wed 25 Nov

█ half of the runs end within  ░ 19 of 20
? takes unknown long  │ deadline
""",
    80: """\
Tue 24 Nov  00      03      06      09      12      15      18      21
pretrain    ·    ██░·       │       ·       ·       ·       ·       ·
evaluate    ·       ·     ? ·       ·       ·       ·       ·       ·
            so until Wed 25 Nov

█ half of the runs end within  ░ 19 of 20  ? takes unknown long  │ deadline
""",
    140: """\
Tue 24 Nov  00              03              06              09              12              15              18              21
pretrain    ·         ███░░░·               │               ·               ·               ·               ·               ·
evaluate    ·               ·            ?  ·               ·               ·               ·               ·               ·
            so until Wed 25 Nov

█ half of the runs end within  ░ 19 of 20  ? takes unknown long  │ deadline
""",  # noqa: E501
}


@pytest.mark.usefixtures("two_jobs")
@pytest.mark.parametrize("columns", DRAWN)
def test_the_drawing(inside, record, monkeypatch, columns):
    record("pretrain", 20, 20, 60)
    monkeypatch.setenv("COLUMNS", str(columns))
    done = inside("plan")
    assert done.stdout.startswith(DRAWN[columns])


@pytest.mark.usefixtures("two_jobs")
def test_where_the_terminal_knows_no_blocks_it_is_drawn_in_ascii(maejobs):
    done = maejobs("plan", PYTHONIOENCODING="ascii", TZ="Etc/UTC")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "|" in done.stdout
    assert "?--" in done.stdout


def test_with_nothing_scheduled_it_says_how_to(inside):
    assert "maejobs schedule pretrain" in inside("plan").stdout


@pytest.mark.usefixtures("two_jobs")
def test_lengths_are_those_of_recorded_runs(inside, record):
    record("pretrain", *range(1, 101))
    (pretrain, evaluate) = json.loads(inside("plan", "--days", "1", "--json").stdout)["firings"]
    assert pretrain == {
        "job": "pretrain",
        "expression": "0 2 * * *",
        "slot": "2026-11-24T02:00:00+00:00",
        "end_p50": "2026-11-24T03:15:00+00:00",  # of the last fifty: 51 to 100 minutes
        "end_p95": "2026-11-24T03:38:00+00:00",
        "deadline": "2026-11-24T06:00:00+00:00",
        "history": 50,
    }
    assert (evaluate["end_p50"], evaluate["history"]) == (None, 0)


@pytest.mark.usefixtures("two_jobs")
def test_a_run_that_would_be_lost_is_told_and_strict_makes_it_a_failure(inside, record):
    record("pretrain", 230)
    done = inside("plan", "--days", "1")
    assert done.returncode == 0
    assert (
        "collision  evaluate Tue 24 Nov 05:30 would be skipped: "
        "pretrain of 02:00 holds gpu0 until 05:50, as a rule\n" in done.stdout
    )
    assert inside("plan", "--strict").returncode == 1
    (problem,) = json.loads(inside("plan", "--days", "1", "--json").stdout)["problems"]
    assert (problem["job"], problem["other"], problem["lock"]) == ("evaluate", "pretrain", "gpu0")
    assert (problem["kind"], problem["effect"], problem["certain"]) == (
        "collision",
        "skipped",
        True,
    )


@pytest.mark.usefixtures("two_jobs")
def test_strict_is_content_where_nothing_goes_wrong(inside, record):
    record("pretrain", 60)
    done = inside("plan", "--strict")
    assert done.returncode == 0
    assert "nothing is in another's way" in done.stdout


@pytest.mark.usefixtures("two_jobs")
def test_of_one_job_its_own_firings_are_shown_and_whom_it_is_in_the_way_of(inside, record):
    record("pretrain", 230)
    told = json.loads(inside("plan", "pretrain", "--json").stdout)
    assert {firing["job"] for firing in told["firings"]} == {"pretrain"}
    assert [problem["job"] for problem in told["problems"]] == ["evaluate"]


@pytest.mark.usefixtures("two_jobs")
def test_a_misspelt_job_and_one_without_a_slot(inside, write_job):
    write_job("never", 'command = ["true"]\n')
    misspelt, never = inside("plan", "pretrian"), inside("plan", "never")
    assert (misspelt.returncode, never.returncode) == (2, 2)
    assert "pretrain" in misspelt.stderr
    assert "never is not scheduled" in never.stderr


@pytest.mark.usefixtures("two_jobs")
def test_without_a_database_the_slots_are_drawn_and_the_want_is_told(home, inside):
    take_away(home)
    done = inside("plan")
    assert done.returncode == 1
    assert "how long runs take is not known" in done.stderr
    assert "pretrain  0 2 * * *   not known" in done.stdout


@pytest.mark.usefixtures("two_jobs")
def test_a_line_without_its_job_file_is_told_as_one_and_can_be_dropped(home, inside):
    inside("schedule", "pretrain", "0 3 * * *")
    (home.jobs_dir / "pretrain.toml").unlink()
    told = (
        "maejobs: the line of pretrain has no job file; `maejobs apply pretrain --prune` drops it\n"
    )
    assert inside("plan").stderr == told
    scheduled = inside("schedule", "evaluate", "30 3 * * *")
    assert (scheduled.returncode, scheduled.stderr) == (0, told)
    assert inside("apply", "pretrain", "--prune", "--yes").returncode == 0
    assert inside("plan").stderr == ""
    assert "30 3 * * * " in Path(home.crontab).read_text()


@pytest.mark.usefixtures("two_jobs")
def test_a_bad_job_file_is_told_and_its_slots_are_drawn(home, inside):
    (home.jobs_dir / "evaluate.toml").write_text("nonsense\n")
    done = inside("plan")
    assert done.returncode == 1
    assert "evaluate.toml" in done.stderr
    assert "evaluate    ·" in done.stdout


def test_a_table_that_cannot_be_read_is_told(home, inside):
    Path(home.crontab).write_text("# >>> maejobs >>>\n")
    done = inside("plan")
    assert done.returncode == 1
    assert "line 1 of the crontab" in done.stderr


def test_only_runs_that_tell_a_length_are_measured_and_of_each_job_the_newest(home, record):
    record("pretrain", 1, 2, 3, 4)
    record("evaluate", 5, state=TIMED_OUT)
    record("backup", 6, state=FAILED)
    record("back", -7)  # the clock was set back
    with open_database(home) as engine:
        found = measured_runs(engine, each=3)
    lengths = [(run.job, run.state, (run.finished - run.started).seconds // 60) for run in found]
    assert lengths == [
        ("evaluate", TIMED_OUT, 5),
        ("pretrain", SUCCEEDED, 4),
        ("pretrain", SUCCEEDED, 3),
        ("pretrain", SUCCEEDED, 2),
    ]


def test_what_the_gates_ask_of_the_host_is_told(write_job, inside):
    asks = (
        'disk = { path = "x", free = "1GB", checkpoints = 2 }\nhost = { load = 1.5, battery = 0.3 }'
    )
    write_job("pretrain", f"{PRETRAIN}{asks}\n")
    inside("schedule", "pretrain", "0 2 * * *")
    told = "gpu0, 1.0 GB free, room for 2 checkpoints, load up to 1.5 a core, battery from 30%"
    assert told in inside("plan").stdout
