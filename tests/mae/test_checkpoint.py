"""Checkpoints: whole or not there, and the newest valid one is found whatever happened."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mae.errors import BadInput
from mae.train import checkpoint as checkpoints
from mae.train import loop
from mae.train.events import Events
from mae.train.stopping import Stop


def write(directory: Path, step: int) -> checkpoints.Checkpoint:
    weights = {"a": torch.full((3, 4), float(step)), "b": torch.arange(5.0)}
    facts = {"step": step, "epoch": step / 10, "samples": step * 16, "config_hash": "c0ffee"}
    facts |= {"code_revision": None, "metrics": {"loss": 0.5}}
    return checkpoints.save(directory, weights, {"step": step, "moments": [torch.ones(2)]}, facts)


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def away(monkeypatch) -> Callable[[Path, int, int], None]:
    """Have the disk refuse a checkpoint's weights with an error, so many times."""
    sha256_of = checkpoints.sha256_of
    monkeypatch.setattr(checkpoints, "PATIENCE_SECONDS", 0.0)

    def refuse(checkpoint: Path, number: int, times: int) -> None:
        left = [OSError(number, os.strerror(number))] * times

        def read(path: Path) -> str:
            if path.parent == checkpoint and left:
                raise left.pop()
            return sha256_of(path)

        monkeypatch.setattr(checkpoints, "sha256_of", read)

    return refuse


def test_a_checkpoint_is_as_promised_to_those_who_read_it(tmp_path):
    saved = write(tmp_path, 1500)
    assert saved.path == tmp_path / "step-000001500"
    assert {p.name for p in saved.path.iterdir()} == {
        "weights.safetensors",
        "state.pt",
        "manifest.json",
    }
    manifest = json.loads((saved.path / "manifest.json").read_text())
    assert set(manifest) == {
        "format", "step", "epoch", "samples", "created", "config_hash", "code_revision", "metrics",
        "files",
    }  # fmt: skip
    assert manifest["format"] == 1
    assert manifest["created"].endswith("+00:00")
    assert set(manifest["files"]) == {"weights.safetensors", "state.pt"}
    assert checkpoints.read(saved.path, hashes=True) == saved
    assert torch.equal(checkpoints.load_weights(saved)["a"], torch.full((3, 4), 1500.0))
    assert checkpoints.load_state(saved)["step"] == 1500
    assert not list(tmp_path.glob(".tmp-*"))


def cut(path: Path) -> None:
    content = (path / "state.pt").read_bytes()
    (path / "state.pt").write_bytes(content[:-1])


def flip_a_bit(path: Path) -> None:
    content = bytearray((path / "weights.safetensors").read_bytes())
    content[-3] ^= 1
    (path / "weights.safetensors").write_bytes(content)


def lose_a_file(path: Path) -> None:
    (path / "weights.safetensors").unlink()


def lose_the_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


def garble_the_manifest(path: Path) -> None:
    (path / "manifest.json").write_text('{"format": 1, "step": 3')


def empty_the_manifest(path: Path) -> None:
    (path / "manifest.json").write_text("[]")


def come_from_the_future(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"format": 2}))


@pytest.mark.fault
@pytest.mark.parametrize(
    "damage",
    [
        cut,
        flip_a_bit,
        lose_a_file,
        lose_the_manifest,
        garble_the_manifest,
        empty_the_manifest,
        come_from_the_future,
    ],
)
def test_a_damaged_checkpoint_is_passed_over_loudly(tmp_path, complaints, damage, monkeypatch):
    monkeypatch.setattr(checkpoints, "PATIENCE_SECONDS", 0.0)
    write(tmp_path, 10)
    damage(write(tmp_path, 20).path)
    newest = checkpoints.newest_valid(tmp_path, complaints.append)
    assert newest is not None
    assert newest.step == 10
    (complaint,) = complaints
    assert "step-000000020" in complaint


@pytest.mark.fault
def test_a_disk_that_refuses_for_a_moment_is_asked_again(tmp_path, complaints, away):
    newest = write(tmp_path, 20)
    away(newest.path, errno.ESTALE, 1)
    assert checkpoints.newest_valid(tmp_path, complaints.append) == newest
    assert complaints == []


@pytest.mark.fault
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
@pytest.mark.parametrize("times", [2, 99])  # until the new one is written, or longer
def test_what_could_not_be_read_is_passed_over_and_never_removed(
    tmp_path, complaints, away, number, times
):
    older, newest = write(tmp_path, 10), write(tmp_path, 20)
    before = checkpoints.load_weights(newest)
    away(newest.path, number, times)
    assert checkpoints.newest_valid(tmp_path, complaints.append) == older
    assert f"step-000000020 cannot be read now and is left out: {newest.path}: " in complaints[0]
    write(tmp_path, 20)
    write(tmp_path, 30)
    aside = tmp_path / "step-000000020.unread-1"
    kept = checkpoints.load_weights(checkpoints.Checkpoint(aside, newest.manifest))
    assert torch.equal(kept["a"], before["a"])
    assert [path.name for path in checkpoints.numbered(tmp_path)] == [
        "step-000000010", "step-000000020", "step-000000030"
    ]  # fmt: skip


def test_one_of_a_later_format_makes_way_and_is_not_removed(tmp_path):
    """An older mae, called by mistake, must not take away what it does not understand."""
    come_from_the_future(write(tmp_path, 20).path)
    for number in (1, 2):
        write(tmp_path, 20)
        come_from_the_future(tmp_path / "step-000000020")
        assert (tmp_path / f"step-000000020.unread-{number}" / "weights.safetensors").is_file()


def test_a_directory_that_cannot_be_looked_into_is_not_an_empty_one(tmp_path, monkeypatch):
    write(tmp_path, 20)

    def refuse(_path):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(PermissionError):
        checkpoints.newest_valid(tmp_path, print)


def test_a_file_where_checkpoints_should_be_is_refused_before_a_night_is_spent(tmp_path, tiny):
    root = tmp_path / "campaign"
    root.mkdir()
    (root / "checkpoints").touch()
    with pytest.raises(NotADirectoryError):
        loop.pretrain(root, tiny, Stop(), Events(None))
    assert not (root / "metrics.jsonl").exists()


def test_the_newest_is_the_one_with_the_most_steps(tmp_path, complaints):
    for step in (100, 20, 3):
        write(tmp_path, step)
    newest = checkpoints.newest_valid(tmp_path, complaints.append)
    assert newest is not None
    assert newest.step == 100
    assert complaints == []


def test_no_checkpoint_is_not_an_error(tmp_path, complaints):
    assert checkpoints.newest_valid(tmp_path / "none", complaints.append) is None


def test_a_damaged_one_makes_way_for_the_same_step(tmp_path, complaints):
    cut(write(tmp_path, 20).path)
    write(tmp_path, 20)
    assert checkpoints.newest_valid(tmp_path, complaints.append).step == 20
    assert complaints == []


def test_half_written_ones_are_never_found_and_are_cleaned(tmp_path, complaints):
    write(tmp_path, 20).path.rename(tmp_path / ".tmp-step-000000020")
    assert checkpoints.newest_valid(tmp_path, complaints.append) is None
    checkpoints.clean(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_everything_is_on_the_disk_before_the_rename(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(checkpoints, "sync", lambda path: synced.append(path.name))
    write(tmp_path, 7)
    assert synced == [
        "weights.safetensors", "state.pt", "manifest.json", ".tmp-step-000000007", tmp_path.name
    ]  # fmt: skip


def test_reading_says_what_is_wrong(tmp_path):
    with pytest.raises(BadInput, match=r"manifest\.json: No such file"):
        checkpoints.read(tmp_path)
