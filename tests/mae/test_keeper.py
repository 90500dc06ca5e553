"""Checkpoints beside the training: it waits for none, and a full disk ends no night."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from test_resume import changed, night
from tiny import TINY

from mae.config_file import read_config
from mae.errors import TrainingFailed
from mae.train import checkpoint as checkpoints
from mae.train import loop
from mae.train.campaign import Campaign, append_history
from mae.train.events import Events
from mae.train.keeper import Keeper
from mae.train.stopping import Stop
from mae.train.trainer import Trainer


def steps_kept(root: Path) -> list[int]:
    found = [
        checkpoints.read(path, hashes=True) for path in sorted(root.glob("checkpoints/step-*"))
    ]
    return [checkpoint.step for checkpoint in found]


def test_training_goes_on_while_a_checkpoint_is_written_and_it_holds_its_own_step(
    tmp_path, tiny, monkeypatch
):
    save, train_on = checkpoints.save, Trainer.train_on
    may_end, seen = threading.Event(), []

    def slow(*arguments):
        seen.append("begun")
        assert may_end.wait(60)
        return save(*arguments)

    def train(self, batch):
        if "begun" in seen and self.step < 11:
            seen.append(self.step)
        if self.step == 11:
            may_end.set()
        return train_on(self, batch)

    monkeypatch.setattr(checkpoints, "save", slow)
    monkeypatch.setattr(Trainer, "train_on", train)
    night(tmp_path, changed(tiny, "run", checkpoint_every_steps=4))
    assert seen[:4] == ["begun", 4, 5, 6]
    assert steps_kept(tmp_path) == [4, 12]  # the one of step 8 was due while that of 4 was written
    whole = tmp_path / "whole"
    monkeypatch.undo()
    night(whole, changed(tiny, "run", checkpoint_every_steps=4), until=4)
    names = ("weights.safetensors", "state.pt")
    for name in names:
        ours, theirs = (root / "checkpoints/step-000000004" / name for root in (tmp_path, whole))
        assert ours.read_bytes() == theirs.read_bytes()


def test_the_time_a_step_waited_and_the_nights_left_are_told(tmp_path, tiny):
    events = tmp_path / "events"
    config = changed(tiny, "run", checkpoint_every_steps=2)
    loop.pretrain(tmp_path / "campaign", config, Stop(), Events(events), until_step=5)
    told = [json.loads(line) for line in events.read_text().splitlines()]
    values = {row["name"]: row["value"] for row in told if row["event"] == "metric"}
    assert 0 < values["checkpoint_blocked_seconds"] < 10
    assert values["nights_left"] == 2
    (note,) = [row["text"] for row in told if row["event"] == "note"]
    assert note.startswith("5 of 12 steps, ")
    assert note.endswith(" epochs; 5 steps tonight: 2 more nights like this one")


def test_a_disk_that_refuses_costs_neither_the_run_nor_the_good_checkpoint(
    tmp_path, tiny, monkeypatch
):
    save = checkpoints.save

    def full(directory, weights, state, facts):
        if facts["step"] in (4, 6):
            raise OSError(28, "No space left on device")
        return save(directory, weights, state, facts)

    monkeypatch.setattr(checkpoints, "save", full)
    # No checkpoint is begun while another is written: on a busy machine 4 and 6 would be passed by.
    monkeypatch.setattr(Keeper, "look", Keeper.settle)
    events = tmp_path / "events"
    config = changed(tiny, "run", checkpoint_every_steps=2)
    campaign = tmp_path / "campaign"
    assert loop.pretrain(campaign, config, Stop(), Events(events))[0] == "completed"
    kept = steps_kept(campaign)
    assert not {4, 6} & set(kept)
    assert kept[-1] == 12
    assert "cannot be written: No space left on device; training goes on" in events.read_text()


def test_a_disk_whose_room_cannot_be_looked_up_costs_no_run(tmp_path, tiny, monkeypatch):
    look, told = shutil.disk_usage, iter([True, True])

    def stale(path):
        if next(told, False):
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return look(path)

    monkeypatch.setattr(shutil, "disk_usage", stale)
    night(tmp_path, changed(tiny, "run", checkpoint_every_steps=4))
    assert next(told, None) is None
    assert steps_kept(tmp_path)[-1] == 12


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.ENOSPC, "make room in"),
        (errno.EDQUOT, "make room in"),
        (errno.ENOTDIR, "let .*checkpoints be a directory that can be written"),
    ],
)
def test_a_night_whose_last_checkpoint_is_refused_has_failed(
    tmp_path, tiny, monkeypatch, number, mend
):
    night(tmp_path, tiny, until=3)

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(checkpoints, "save", refuse)
    reason = f"{os.strerror(number)}; the newest is of step 3: {mend}"
    with pytest.raises(TrainingFailed, match=reason):
        night(tmp_path, tiny)
    assert steps_kept(tmp_path) == [3]


def test_a_history_that_cannot_be_written_is_told_and_costs_no_run(tmp_path):
    complaints: list[str] = []
    append_history(Campaign(tmp_path / "gone"), {"step": 7, "loss": 0.5}, complaints.append)
    (told,) = complaints
    assert told.endswith("the loss of step 7 is not noted")


ON_A_SMALL_DISK = """
mount -t tmpfs -o size="$0" tmpfs "$1" && "$2" -m mae pretrain --output "$1/campaign" $3
status=$?
cp -r "$1/campaign" "$4"
df --output=avail -k "$1" | tail -n 1
exit $status
"""


@pytest.mark.fault
@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk needs root, for its mount namespace")
def test_on_a_really_full_disk_training_goes_on_and_the_last_good_checkpoint_stays(tmp_path, tiny):
    night(tmp_path / "one", tiny, until=1)
    size = sum(f.stat().st_size for f in (tmp_path / "one").rglob("*") if f.is_file())
    (tmp_path / "disk").mkdir()
    options = " ".join(f"--set {setting}" for setting in TINY)
    options += (
        " --config fashion-tiny --set run.checkpoint_every_steps=1 --set run.log_every_steps=1"
    )
    room = f"{int(3.5 * size) // 4096 * 4}k"
    shell = ["unshare", "-m", "sh", "-c", ON_A_SMALL_DISK, room, str(tmp_path / "disk")]
    done = subprocess.run(
        [*shell, sys.executable, options, str(tmp_path / "copy")], capture_output=True, text=True
    )
    if "unshare failed" in done.stderr:
        pytest.skip("a small disk needs a mount namespace, which this machine does not allow")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "training goes on" in done.stderr
    assert "the night's last checkpoint is not on the disk" in done.stderr
    assert steps_kept(tmp_path / "copy")[-1] in range(1, 12)
    assert not list((tmp_path / "copy/checkpoints").glob(".tmp-*"))
    assert night(tmp_path / "copy", read_config("fashion-tiny", TINY))[0] == "completed"
