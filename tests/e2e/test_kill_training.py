"""kill -9 of real training, and of its supervisor, at random moments of random nights."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from maejobs.keep.checkpoint import newest_valid
from maejobs.launch.process import is_alive
from maejobs.rehearsal import Stage, set_clock, set_stage
from maejobs.rundb.database import open_database
from maejobs.rundb.directory import read_record
from maejobs.rundb.queries import find_run, unfinished_runs
from maejobs.rundb.run import Run, run_name

MAEJOBS = Path(sys.executable).parent / "maejobs"
FIRST_NIGHT = datetime(2027, 1, 1, 2, 0, tzinfo=UTC)
QUIET_NIGHT_SECONDS = 25  # a start may take ten of them beside other tests
LONGEST_WAIT = 9.0  # seconds after the start; loading takes about four of them


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_the_next_night_resumes_from_a_valid_checkpoint_whatever_was_killed(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    stage = _stage(tmp_path / "stage")
    resumed = 0
    assert _undisturbed(stage, 0).step > 0
    for night in range(1, 1 + pytestconfig.getoption("--kills")):
        before = newest_valid(stage.home_dir / "campaigns/main", deep=True)
        supervisor, run = _start(stage, night)
        time.sleep(chance.uniform(0, LONGEST_WAIT))
        if night % 2:
            supervisor.kill()
            supervisor.wait()
            # The command is not ours to kill: it goes on, and is still held to be running.
            _reconcile(stage)
            if is_alive(run.pid, run.pid_started):
                assert _row(stage, run).state in {"running", "succeeded"}
        _kill(run.pid)
        supervisor.wait(30)
        _reconcile(stage)
        with open_database(stage.home()) as engine:
            assert unfinished_runs(engine) == []
        row = _row(stage, run)
        assert row.state in {"failed", "lost", "succeeded"}
        assert before is not None
        if row.checkpoint_in is not None:
            assert Path(row.checkpoint_in).name == before.name
            resumed += 1
    before = newest_valid(stage.home_dir / "campaigns/main", deep=True)
    last = _undisturbed(stage, 1000)
    assert before is not None
    assert Path(last.checkpoint_in).name == before.name
    assert last.step > before.step
    print(f"{resumed} of the killed nights had resumed; at the end step {last.step}")


def _undisturbed(stage: Stage, night: int) -> Any:
    supervisor, run = _start(stage, night, seconds=QUIET_NIGHT_SECONDS)
    assert supervisor.wait(60) == 0
    row = _row(stage, run)
    assert (row.state, row.outcome) == ("succeeded", "paused")
    return row


def _stage(root: Path) -> Stage:
    stage = set_stage(root, night_seconds=60)
    job = stage.home_dir / "jobs.d/pretrain.toml"
    often = '"--set", "run.checkpoint_every_seconds=2",\n]'
    job.write_text(job.read_text().replace("\n]", f"\n    {often}", 1))
    (stage.home_dir / "campaigns/main").mkdir(parents=True)
    stage.call("init")
    return stage


def _start(stage: Stage, night: int, seconds: int = 60) -> tuple[subprocess.Popen[bytes], Run]:
    """The supervisor of a night's run, and the run's record once its command is there."""
    job = stage.home_dir / "jobs.d/pretrain.toml"
    job.write_text(re.sub(r'timeout = "\d+s"', f'timeout = "{seconds}s"', job.read_text()))
    slot = FIRST_NIGHT + timedelta(days=night)
    set_clock(stage, slot)
    supervisor = subprocess.Popen(
        [str(MAEJOBS), "exec", "pretrain", "--home", str(stage.home_dir)],
        env={"HOME": str(stage.user_dir), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    directory = stage.home_dir / "runs/pretrain" / run_name("pretrain", slot, 1)
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        run = read_record(directory)
        if run is not None and run.pid is not None:
            return supervisor, run
        time.sleep(0.05)
    pytest.fail(f"no command was started in {directory}")


def _kill(pid: int | None) -> None:
    assert pid is not None
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _reconcile(stage: Stage) -> None:
    stage.call("reconcile")


def _row(stage: Stage, run: Run) -> Any:
    with open_database(stage.home()) as engine:
        return find_run(engine, run.id)
