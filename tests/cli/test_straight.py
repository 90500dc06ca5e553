"""The record sets itself straight, and what waits can be stopped: with real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from databases import configure

from maejobs.home import Home
from maejobs.rundb.directory import read_record

MAEJOBS = Path(sys.executable).parent / "maejobs"


def start(home: Home, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(MAEJOBS), *arguments],
        env={"HOME": str(home.root), "PATH": "/usr/bin:/bin", "MAEJOBS_HOME": str(home.root)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(home: Home, job: str, state: str):
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        for directory in (home.runs_dir / job).glob("*"):
            run = read_record(directory)
            if run is not None and run.state == state:
                return run
        time.sleep(0.05)
    pytest.fail(f"{job} was never {state}")


@pytest.mark.fault
def test_the_next_call_of_cron_finds_the_run_that_lost_its_process(home, write_job, maejobs):
    write_job("long", 'command = ["sleep", "60"]')
    write_job("quick", 'command = ["true"]')
    supervisor = start(home, "exec", "long")
    run = wait_for(home, "long", "running")
    for pid in (supervisor.pid, run.pid):
        os.kill(pid, signal.SIGKILL)
    supervisor.wait(10)
    assert maejobs("exec", "quick").returncode == 0
    assert json.loads(maejobs("show", run.id, "--json").stdout)["state"] == "lost"


def test_a_job_that_waits_to_be_tried_again_can_be_cancelled(home, write_job, maejobs):
    write_job("flaky", 'command = ["false"]\nretries = 3\nretry_delay = "60s"')
    supervisor = start(home, "exec", "flaky")
    failed = wait_for(home, "flaky", "failed")
    done = maejobs("cancel", "flaky")
    assert (done.returncode, done.stdout) == (0, f"told {failed.id} to stop\n")
    assert supervisor.wait(10) == 1
    assert len(list((home.runs_dir / "flaky").iterdir())) == 1


def test_retries_by_hand_are_counted(home, write_job, inside):
    write_job("bad", 'command = ["false"]')
    inside("run", "bad")
    inside("retry", "bad")
    inside("retry", "bad")
    runs = json.loads(inside("runs", "bad", "--json").stdout)
    assert [(run["attempt"], run["trigger"]) for run in runs] == [
        (3, "retry"),
        (2, "retry"),
        (1, "manual"),
    ]
    assert runs[0]["retry_of"] == runs[1]["id"]


def test_a_run_knows_the_code_that_ran_it(home, write_job, maejobs):
    write_job("quick", 'command = ["true"]')
    maejobs("run", "quick")
    (run,) = json.loads(maejobs("runs", "--json").stdout)
    top = Path(__file__).parents[2]
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=top, capture_output=True, text=True, check=True
    ).stdout
    version, short = run["revision"].split()
    assert version == "0.1.0"
    assert commit.startswith(short.removesuffix("-dirty"))


def test_a_run_by_hand_after_the_night_does_not_make_it_look_late(home, write_job, maejobs):
    write_job("nightly", 'command = ["true"]\nlate_after = "1m"')
    soon = datetime.now().astimezone() + timedelta(minutes=1)
    assert maejobs("schedule", "nightly", f"{soon.minute} * * * *").returncode == 0
    # The home's clock goes on by four minutes, so that a slot has come since it was scheduled.
    configure(home, 'crontab = "crontab"\nclock_shift = 240\n')
    assert maejobs("exec", "nightly").returncode == 0
    assert maejobs("run", "nightly").returncode == 0
    (status,) = json.loads(maejobs("status", "--json").stdout)
    assert status["last_slot"] is not None
    assert status["late_seconds"] is None


@pytest.mark.fault
def test_trouble_with_the_record_afterwards_does_not_make_a_good_night_fail(
    home, write_job, inside
):
    write_job("quick", 'command = ["true"]')
    (home.spool_dir / "broken.json").mkdir()  # what nobody can read as a record
    done = inside("exec", "quick")
    assert (done.returncode, "internal error" in done.stderr) == (0, False)
    (run,) = json.loads(inside("runs", "--json").stdout)
    assert run["state"] == "succeeded"
    assert inside("reconcile").returncode == 0
