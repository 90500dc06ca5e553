"""kill -9 of the command and of its supervisor at random moments, with a stand-in for a trainer.

The stand-in does what a trainer does to a run, faster: it tells events and replaces a file. (Real
training is killed in tests/mae.) The seed is printed; `MAEJOBS_TEST_SEED` repeats a sequence.
"""

import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from running import (
    SLOT,
    directories,
    end_of,
    kill,
    lives,
    python,
    runs_of,
    supervisor,
    wait_for,
)

from maejobs.errors import EXIT_NOT_NOW
from maejobs.rundb.run import UNFINISHED
from maejobs.supervise.claim import RECORD_NAME, read_record
from maejobs.supervise.execute import execute
from maejobs.watch.reconcile import reconcile

pytestmark = pytest.mark.fault

TIMES = 10
STAND_IN = """
import json, os, time
from pathlib import Path
events, state = os.environ["MAEJOBS_EVENTS"], Path(os.environ["MAEJOBS_HOME"]) / "state.json"
with open(Path(os.environ["MAEJOBS_HOME"]) / "starts", "a") as starts:
    print(os.environ["MAEJOBS_RUN_ID"], os.getpid(), file=starts)
for step in range(1, 41):
    with open(events, "a") as file:
        print(json.dumps({"event": "progress", "step": step, "total": 40}), file=file)
    state.with_suffix(".tmp").write_text(json.dumps({"step": step}))
    state.with_suffix(".tmp").replace(state)
    print("step", step, flush=True)
    time.sleep(0.006)
with open(events, "a") as file:
    print(json.dumps({"event": "outcome", "status": "completed"}), file=file)
"""


@pytest.fixture
def chance(request) -> random.Random:
    seed = int(os.environ.get("MAEJOBS_TEST_SEED") or random.randrange(10**6))
    print(f"MAEJOBS_TEST_SEED={seed}")
    return random.Random(f"{seed} {request.node.name}")


def starts(home) -> dict[str, int]:
    """The stand-ins that began, by run: their pids."""
    file = home.root / "starts"
    lines = file.read_text().splitlines() if file.exists() else []
    return {run: int(pid) for run, pid in map(str.split, lines)}


def command_of(directory) -> int | None:
    record = read_record(directory)
    return record.pid if record else None


def check_the_record(home) -> None:
    """No row goes on without a process (twice, since one may end just after it was looked at)."""
    for _ in range(2):
        reconcile(home)
        unfinished = [run for run in runs_of(home, "night") if run.state in UNFINISHED]
        stuck = [run.id for run in unfinished if not lives(run.pid or run.supervisor_pid)]
        if not stuck:
            return
    pytest.fail(f"without a process: {stuck}")


def check_that_the_slot_ends_well_once(home, slot) -> None:
    """When cron has called for the slot once more, it has succeeded, once; the next is refused."""
    wait_for(lambda: not any(lives(pid) for pid in starts(home).values()))
    check_the_record(home)
    assert not [run for run in runs_of(home, "night") if run.state in UNFINISHED]
    assert end_of(supervisor(home, "night", slot)) in (0, EXIT_NOT_NOW)
    assert end_of(supervisor(home, "night", slot)) == EXIT_NOT_NOW
    runs = [run for run in runs_of(home, "night") if run.slot == slot]
    assert sum(ended_well(run) for run in runs) == 1
    assert len({(run.slot, run.attempt) for run in runs}) == len(runs)


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def ended_well(run) -> bool:
    """By the supervisor's verdict; by the stand-in's own word if nobody was there to judge.

    It may be lost and yet have ended well: killed between the start and the first word of it, the
    supervisor left a record without a pid.
    """
    stream = Path(run.directory) / "events.jsonl"
    told = stream.exists() and '"completed"' in stream.read_text()
    return run.state == "succeeded" or (run.state == "lost" and told)


@pytest.mark.parametrize("number", range(TIMES))
def test_a_killed_command_has_failed_and_its_slot_may_be_tried_again(
    home, write_job, chance, number
):
    write_job("night", python(STAND_IN))
    slot = SLOT + timedelta(days=number)
    process = supervisor(home, "night", slot)
    (directory,) = wait_for(lambda: directories(home, "night"))
    pid = wait_for(lambda: command_of(directory))
    time.sleep(chance.uniform(0, 0.6))

    kill(pid, signal.SIGKILL)

    code = end_of(process)
    (run,) = runs_of(home, "night")
    assert (run.state, run.signal, code) in {("failed", signal.SIGKILL, 1), ("succeeded", None, 0)}
    check_that_the_slot_ends_well_once(home, slot)


@pytest.mark.parametrize("number", range(TIMES))
def test_a_killed_supervisor_leaves_neither_a_stuck_row_nor_a_slot_run_twice(
    home, write_job, chance, number
):
    write_job("night", python(STAND_IN))
    slot = SLOT + timedelta(days=number)
    process = supervisor(home, "night", slot)
    wait_for(lambda: list(home.runs_dir.glob(f"night/*/{RECORD_NAME}")))
    time.sleep(chance.uniform(0, 0.6))

    process.kill()

    end_of(process)
    check_the_record(home)
    second = execute(home, "night", "manual").run
    # Beside a command that goes on, none starts.
    (first,) = [run for run in runs_of(home, "night") if run.slot == slot] or [None]
    if first and first.id in starts(home) and second.started:
        assert not lives(starts(home)[first.id])
    check_that_the_slot_ends_well_once(home, slot)
    assert end_of(supervisor(home, "night", slot + timedelta(days=1))) == 0


def test_a_supervisor_killed_while_it_waits_for_the_database_is_believed_later(home, write_job):
    write_job("night", 'command = ["sleep", "0.5"]\n')
    process = supervisor(home, "night")
    wait_for(lambda: [run for run in runs_of(home, "night") if run.state == "running"])
    with closing(sqlite3.connect(home.database_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        # Not what it spools, and forgets again, as it writes that the command has started.
        (spooled,) = wait_for(
            lambda: [p for p in home.spool_dir.glob("*.json") if "succeeded" in text_of(p)]
        )
        process.kill()
        end_of(process)
        other.execute("ROLLBACK")

    assert reconcile(home).taken_up == [spooled.stem]
    (run,) = runs_of(home, "night")
    assert (run.state, run.exit_code) == ("succeeded", 0)


def test_a_slot_whose_command_ended_well_without_its_supervisor_is_done(home, write_job):
    write_job("night", python(STAND_IN))
    process = supervisor(home, "night", SLOT)
    wait_for(lambda: [run for run in runs_of(home, "night") if run.state == "running"])
    process.kill()
    end_of(process)
    wait_for(lambda: starts(home) and not any(map(lives, starts(home).values())))

    assert end_of(supervisor(home, "night", SLOT)) == EXIT_NOT_NOW
    assert len(starts(home)) == 1
    assert len(reconcile(home).ended_well) == 1
    (run,) = runs_of(home, "night")
    assert (run.state, run.outcome, run.step) == ("succeeded", "completed", 40)
