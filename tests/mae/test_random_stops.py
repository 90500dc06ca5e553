"""One campaign, stopped at random in every way there is, against the same one left in peace."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import forked
import pytest
from test_process import COMMAND, pretrain, start, wait_for

from mae.train import checkpoint as checkpoints

STEPS = 700
EPOCH = 7  # steps: the folder has 108 training images or so, in batches of 16
WAYS = ("deadline", "SIGTERM", "SIGKILL", "SIGABRT")
EVALUATION_SECONDS = (0.2, 2.0)


def command(root: Path, folder: Path, workers: int) -> list[str]:
    settings = (f"run.workers={workers}", "run.checkpoint_every_steps=50", "run.log_every_steps=1")
    told = [part for setting in settings for part in ("--set", setting)]
    return pretrain(root, "--data", str(folder), "--steps", str(STEPS), *told)


def newest(root: Path) -> checkpoints.Checkpoint | None:
    return checkpoints.newest_valid(root / "checkpoints", print)


def steps_noted(root: Path) -> int:
    """The last step that the history tells of; lines may be torn or not there yet."""
    try:
        lines = (root / "metrics.jsonl").read_text().splitlines()
        return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)
    except FileNotFoundError:
        return 0


def stop_in_the_middle(way: str, root: Path, line: list[str], tmp_path: Path, target: int) -> None:
    """Train until about `target` steps, then end in that way."""
    environment = {"MAEJOBS_DEADLINE": str(time.time() + 4)} if way == "deadline" else {}
    process = start(line, tmp_path, **environment)
    if way != "deadline":
        wait_for(lambda: steps_noted(root) >= target or process.poll() == 0, process)
        os.killpg(process.pid, getattr(signal, way))
    _, err = process.communicate(timeout=60)
    expected = {"SIGKILL": -signal.SIGKILL, "SIGABRT": -signal.SIGABRT}.get(way, 0)
    # On a quick machine all may be done before the end that we have in mind.
    assert process.returncode in {0, expected}, err


def evaluate_and_stop(root: Path, tmp_path: Path, seconds: float) -> None:
    process = start([*COMMAND, "evaluate", str(root)], tmp_path)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.timeout(1200)
def test_any_stops_at_all_leave_the_weights_of_a_campaign_in_one_piece(
    tmp_path: Path, folder: Path, pytestconfig: pytest.Config
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    forked.run(command(whole, folder, 0), check=True)

    stops = max(len(WAYS), pytestconfig.getoption("--stops"))
    ways = [*WAYS, *chance.choices(WAYS, k=stops - len(WAYS))]
    chance.shuffle(ways)
    for index, way in enumerate(ways):
        found = newest(parts)
        step = found.step if found else 0
        # A killed night's history goes beyond its checkpoint until the next one rewinds it.
        begun = max(step, steps_noted(parts))
        target = begun + chance.randint(1, max(1, (STEPS - begun) // (stops - index + 1)))
        if index == 0:
            target = EPOCH * max(1, target // EPOCH)  # the end of an epoch, once for sure
        line = command(parts, folder, workers=chance.randint(0, 2))
        print(f"{way} at {target}, from {step}")
        stop_in_the_middle(way, parts, line, tmp_path, target)
        found = newest(parts)
        assert (found.step if found else 0) >= step
        if index % 2 and found:
            evaluate_and_stop(parts, tmp_path, chance.uniform(*EVALUATION_SECONDS))
    forked.run(command(parts, folder, 1), check=True)

    one, many = newest(whole), newest(parts)
    assert one is not None
    assert many is not None
    assert (one.step, many.step) == (STEPS, STEPS)
    assert one.sha256 == many.sha256
    rows = [json.loads(line) for line in (parts / "metrics.jsonl").read_text().splitlines()]
    losses = {row["step"]: row["loss"] for row in rows}
    alone = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert losses == {row["step"]: row["loss"] for row in alone}
    assert max(row["night"] for row in rows) > 1
