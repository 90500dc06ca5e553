"""The installed command under signals, deadlines and kills: a valid checkpoint is always left."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import forked
import psutil
import pytest

from mae.config_file import read_config
from mae.evaluate.head import train_head
from mae.evaluate.head_request import Request
from mae.train import checkpoint as checkpoints
from mae.train import loop
from mae.train.events import Events
from mae.train.stopping import Stop

COMMAND = [sys.executable, "-m", "mae"]
INSTALLED = [str(Path(sys.executable).with_name("mae"))]  # the command itself, from its start
SETTINGS = [
    "model.width=32", "model.depth=1", "model.heads=2", "model.decoder_width=16",
    "model.decoder_depth=1", "model.decoder_heads=2", "recipe.batch_size=16",
    "recipe.base_lr=4e-3", "run.log_every_steps=5",
]  # fmt: skip


def pretrain(root: Path, *more: str) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return [
        *COMMAND,
        "pretrain",
        "--config",
        "fashion-tiny",
        "--output",
        str(root),
        *settings,
        *more,
    ]


def start(command: list[str], tmp_path: Path, **environment: str) -> subprocess.Popen:
    """The command in a session of its own; a copy of this process, where that is enough."""
    copied = command[:3] == COMMAND
    return (forked.Forked if copied else partial(subprocess.Popen, text=True))(
        command,
        env={**os.environ, "MAEJOBS_EVENTS": str(tmp_path / "events.jsonl"), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def events(tmp_path: Path, kind: str) -> list[dict]:
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    return [e for e in map(json.loads, lines) if e["event"] == kind]


def wait_for(condition, process: subprocess.Popen, seconds: float = 90.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < give_up
        time.sleep(0.05)


def newest(root: Path, complaints: list[str]) -> int:
    found = checkpoints.newest_valid(root / "checkpoints", complaints.append)
    return found.step if found else 0


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_group_pauses_at_a_checkpoint(tmp_path, folder, number):
    root = tmp_path / "campaign"
    words = pretrain(root, "--data", str(folder), "--steps", "100000")
    process = start([*INSTALLED, *words[len(COMMAND) :]], tmp_path)
    history = root / "metrics.jsonl"
    wait_for(lambda: history.exists() and history.read_text().count("\n") > 1, process)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, f"paused: {number.name}\n")
    assert "Traceback" not in err
    (outcome,) = events(tmp_path, "outcome")
    assert (outcome["status"], outcome["reason"]) == ("paused", number.name)
    (told,) = events(tmp_path, "checkpoint")
    saved = checkpoints.read(Path(told["path"]), hashes=True)
    assert (saved.step, saved.size, saved.sha256) == (told["step"], told["bytes"], told["sha256"])
    last = json.loads(history.read_text().splitlines()[-1])
    assert last["step"] == saved.step


@pytest.mark.slow
@pytest.mark.fault
def test_an_error_while_images_are_read_ahead_ends_the_night(tmp_path, folder):
    """It is not the loader's own, so nobody tells the loader that it is no longer needed."""
    root = tmp_path / "campaign"
    root.mkdir()
    (root / "checkpoints").mkdir()
    (root / "checkpoints/.tmp-step-000000002").touch()  # where it is to be written
    words = pretrain(root, "--data", str(folder), "--steps", "2", "--set", "run.workers=1")
    process = start([*INSTALLED, *words[len(COMMAND) :]], tmp_path)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, out) == (1, "")
    assert "is not on the disk" in err.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.fault
def test_a_killed_process_of_the_loader_ends_the_night_with_one_line(tmp_path, folder):
    """The others ignore the TERM with which Python ends what is left at its own end."""
    words = pretrain(tmp_path / "campaign", "--data", str(folder), "--steps", "100000")
    words += ["--set", "run.workers=2"]
    process = start([*INSTALLED, *words[len(COMMAND) :]], tmp_path)
    history = tmp_path / "campaign/metrics.jsonl"
    wait_for(lambda: history.exists() and history.read_text().count("\n") > 1, process)
    loaders = psutil.Process(process.pid).children()
    loaders[-1].kill()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    (line,) = [line for line in err.splitlines() if not line.startswith("\r")]
    assert line.startswith("mae: DataLoader worker (pid")
    assert line.endswith("then lower run.workers")
    assert psutil.wait_procs(loaders, timeout=10)[1] == []


@pytest.mark.slow
def test_the_checkpoint_is_on_the_disk_before_the_deadline(tmp_path):
    root, deadline = tmp_path / "campaign", time.time() + 10
    command = pretrain(root, "--steps", "1000000")
    process = start(command, tmp_path, MAEJOBS_DEADLINE=str(deadline))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "paused: deadline\n"), err
    (saved,) = events(tmp_path, "checkpoint")
    assert saved["step"] > 0
    assert deadline - 8 < saved["time"] < deadline
    assert events(tmp_path, "outcome")[0]["reason"] == "deadline"
    assert newest(root, []) == saved["step"]


@pytest.mark.slow
@pytest.mark.fault
def test_kill_9_at_any_moment_leaves_a_valid_checkpoint(tmp_path):
    """Checkpoints follow each other without a pause, so most kills hit one being written."""
    root, moments, steps = tmp_path / "campaign", random.Random(5), [0]
    command = pretrain(root, "--steps", "100000", "--set", "run.checkpoint_every_steps=1")
    for _ in range(5):
        process = start(command, tmp_path)
        wait_for(lambda: newest(root, []) > steps[-1], process)
        time.sleep(moments.uniform(0, 0.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        complaints: list[str] = []
        steps.append(newest(root, complaints))
        assert complaints == []
        assert steps[-1] > steps[-2]
    notes = [e["text"] for e in events(tmp_path, "note")]
    resumed = [n for n in notes if n.startswith("resuming from")]
    assert [f"step-{step:09d}" in note for step, note in zip(steps[1:], resumed, strict=False)] == [
        True
    ] * 4
    last = ("--until-step", str(steps[-1] + 1))
    done = forked.run(pretrain(root, "--steps", "100000", *last), check=True)
    assert done.stdout == f"paused: step {steps[-1] + 1}\n"
    assert not list((root / "checkpoints").glob(".tmp-*"))


@pytest.mark.slow
def test_term_while_evaluating_pauses_and_writes_no_result(tmp_path):
    root = tmp_path / "campaign"
    forked.run(pretrain(root, "--steps", "3"), check=True)
    process = start([*COMMAND, "evaluate", str(root)], tmp_path)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert events(tmp_path, "outcome")[-1]["reason"] == "SIGTERM"
    assert not list(root.glob("evaluations/step-*"))


HEAD = ("learning.batch_size=64", "learning.epochs=2", "learning.warmup_epochs=1")


def train_here(root: Path, *settings: str) -> dict:
    return train_head(Request(root, "linear/fashion-tiny", settings), Stop(), Events(None))


@pytest.mark.slow
@pytest.mark.fault
def test_term_and_a_kill_while_a_head_is_trained_lose_nothing(tmp_path, capsys):
    root = tmp_path / "campaign"
    config = read_config("fashion-tiny", (*SETTINGS, "recipe.steps=2"))
    loop.pretrain(root, config, Stop(), Events(None))
    expected = (root / train_here(root, *HEAD)["weights"]).read_bytes()
    for made in ("evaluations", "heads"):
        (root / made).rename(tmp_path / made)

    often = (*HEAD, "run.checkpoint_every_seconds=0.1")
    command = [*COMMAND, "evaluate", str(root), "--recipe", "linear/fashion-tiny"]
    command += [part for setting in often for part in ("--set", setting)]
    process = start(command, tmp_path)
    wait_for(lambda: list(root.glob("heads/*/*/state/step-*")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (killed,) = root.glob("heads/*/*/state/step-*")
    process = start(command, tmp_path)
    wait_for(lambda: list(root.glob("heads/*/*/state/step-*")) != [killed], process)
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, ""), err
    assert f"resuming from step {int(killed.name[5:])} of 124" in err
    assert "paused: SIGTERM, at step" in err
    assert events(tmp_path, "outcome")[-1]["status"] == "paused"
    assert not list(root.glob("evaluations/*"))

    assert (root / train_here(root, *often)["weights"]).read_bytes() == expected
    assert "resuming from step" in capsys.readouterr().err


@pytest.mark.fault
def test_a_full_disk_while_a_head_is_trained_is_told_in_a_line(tmp_path):
    root, disk = tmp_path / "campaign", tmp_path / "disk"
    config = read_config("fashion-tiny", (*SETTINGS, "recipe.steps=2"))
    loop.pretrain(root, config, Stop(), Events(None))
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=192k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs to mount a small disk")
    try:
        (root / "heads").symlink_to(disk)
        command = [*COMMAND, "evaluate", str(root), "--recipe", "finetune/fashion-tiny"]
        often = (*HEAD, "run.checkpoint_every_seconds=0.5")
        command += [part for setting in often for part in ("--set", setting)]
        done = forked.run(command)
        assert done.returncode == 1, done.stderr
        assert "the state of step" in done.stderr
        assert "No space left on device" in done.stderr.splitlines()[-1]
        assert not list(disk.glob("*/*/state/.tmp-*"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_a_signal_that_comes_when_all_is_done_spoils_nothing(tmp_path):
    process = start(pretrain(tmp_path / "c", "--until-step", "2"), tmp_path)
    wait_for(lambda: (tmp_path / "events.jsonl").exists() and events(tmp_path, "outcome"), process)
    time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
