"""docs/supervision.md says what the code does."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from maejobs.cron.wakeup import LONGEST_JUMP
from maejobs.errors import EXIT_FAILED, EXIT_NOT_NOW, EXIT_USAGE
from maejobs.jobs.failures import (
    CLASSES,
    INFRASTRUCTURE,
    NEVER_TRIED_AGAIN,
    TRIED_AGAIN,
    WOULD_HAPPEN_AGAIN,
)
from maejobs.jobs.load import parse_job
from maejobs.rundb.run import FINISHED, UNFINISHED
from maejobs.supervise import disk_gate, gates, gpu_gate, host_gate, pace, sampling
from maejobs.supervise.child import LONGEST_LOOK_SECONDS, TICK_SECONDS
from maejobs.supervise.environment import build_environment, placeholder_values
from maejobs.supervise.evidence import TAIL_BYTES
from maejobs.supervise.failure import BAD_INPUT_CODE, KILLED_CODE
from maejobs.supervise.log_limit import HEAD_SHARE
from maejobs.supervise.recorder import SAVE_PATIENCE_SECONDS
from maejobs.supervise.retry import LONGEST_DELAY
from maejobs.supervise.slot import LATEST_START

GATES = (gates, disk_gate, host_gate, gpu_gate)
PAGE = (Path(__file__).parents[2] / "docs" / "supervision.md").read_text()


def table(title: str) -> set[str]:
    """The first column of the tables under a heading."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    return {cell.strip("` ") for cell in re.findall(r"^ *\| *([^|]*)\|", section, re.M)}


def test_it_has_every_state():
    assert table("States") - {"state", "---"} == UNFINISHED | FINISHED


def test_it_has_every_class_of_failures():
    assert table("Why a run failed") - {"class", "---"} == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_it_says_which_classes_are_tried_again(name):
    (told,) = re.findall(rf"^\| `{name}` \| [^|]+ \| ([^|]+) \|$", PAGE, re.M)
    assert told.startswith("yes") == (name in TRIED_AGAIN)
    assert told.endswith("the host is to blame") == (name in INFRASTRUCTURE)
    assert (told == "only if the job says so") == (name in WOULD_HAPPEN_AGAIN)
    assert told.startswith("never") == (name in NEVER_TRIED_AGAIN)


def test_it_has_every_exit_code():
    codes = {str(code) for code in (0, EXIT_FAILED, EXIT_USAGE, EXIT_NOT_NOW)}

    assert table("Exit codes") - {"code", "---"} == codes


def test_it_has_every_reason_a_gate_gives():
    code = "".join(Path(module.__file__).read_text() for module in GATES)
    reasons = re.findall(r'NotNow\(\s*"(\w+)"', code)

    assert len(set(reasons)) >= 5
    for reason in reasons:
        assert re.search(rf"\| `{reason}` \|", PAGE)


@pytest.mark.parametrize("overlap", ["skip", "wait", "replace"])
def test_it_has_every_overlap(overlap):
    assert overlap in table("Overlap and locks")


def test_it_has_every_variable_a_command_gets(home):
    job = parse_job(Path("x.toml"), "x", 'command = ["true"]')
    values = placeholder_values(home, job, "x-1", Path("/x"))

    for name in build_environment(home, job, values, Path("/e"), None, {}):
        assert f"`{name}" in PAGE or f"a `{name}`" in PAGE
    assert "MAEJOBS_DEADLINE" in table("Environment")


def test_its_numbers_are_the_codes():
    job = parse_job(Path("x.toml"), "x", 'command = ["true"]')

    assert f"waited for for {SAVE_PATIENCE_SECONDS:.0f} seconds" in PAGE
    assert f"`grace` ({job.grace.total_seconds():.0f} seconds" in PAGE
    assert job.wait.total_seconds() == 3600
    assert "up to `wait` (1 hour)" in PAGE
    assert TAIL_BYTES == 64_000
    assert "64 kB of its log" in " ".join(PAGE.split())
    assert (BAD_INPUT_CODE, KILLED_CODE) == (2, 137)
    assert timedelta(hours=1) == LONGEST_DELAY
    assert (pace.ENOUGH, pace.MOST, pace.LEAST_FACTOR) == (5, 20, 2)
    assert (pace.LEAST_SECONDS, pace.DEVIATIONS) == (10, 5)
    assert TICK_SECONDS == 0.5
    assert "twice a second" in " ".join(PAGE.lower().split())
    assert LONGEST_LOOK_SECONDS == 5
    assert "every five seconds at least" in PAGE
    assert (sampling.FIRST_SECONDS, sampling.USUAL_SECONDS, sampling.FULL_LENGTH) == (0.5, 15, 2000)
    assert "up to every 15 seconds" in PAGE
    assert f"({job.log_limit // 10**6} MB unless" in PAGE
    assert (HEAD_SHARE, TICK_SECONDS) == (4, 0.5)
    assert "the first quarter of that" in PAGE
    assert timedelta(minutes=LONGEST_JUMP) == LATEST_START
    assert "up to three hours late" in PAGE
