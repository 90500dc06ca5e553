"""kill -9 of the supervisor at two moments that chance seldom finds; see test_random_kills."""

from pathlib import Path

import pytest
from databases import locked
from running import (
    SLOT,
    end_of,
    lives,
    python,
    runs_of,
    supervisor,
    wait_for,
)

from maejobs.errors import EXIT_NOT_NOW
from maejobs.watch.reconcile import reconcile

pytestmark = pytest.mark.fault

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


def starts(home) -> dict[str, int]:
    """The stand-ins that began, by run: their pids."""
    file = home.root / "starts"
    lines = file.read_text().splitlines() if file.exists() else []
    return {run: int(pid) for run, pid in map(str.split, lines)}


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def test_a_supervisor_killed_while_it_waits_for_the_database_is_believed_later(home, write_job):
    write_job("night", 'command = ["sleep", "0.5"]\n')
    process = supervisor(home, "night")
    wait_for(lambda: [run for run in runs_of(home, "night") if run.state == "running"])
    with locked(home):
        # Not what it spools, and forgets again, as it writes that the command has started.
        (spooled,) = wait_for(
            lambda: [p for p in home.spool_dir.glob("*.json") if "succeeded" in text_of(p)]
        )
        process.kill()
        end_of(process)

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
