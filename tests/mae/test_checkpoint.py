"""Checkpoints: whole or not there, and the newest valid one is found whatever happened."""

import json
from pathlib import Path

import pytest
import torch

from mae.errors import BadInput
from mae.train import checkpoint as checkpoints


def write(directory: Path, step: int) -> checkpoints.Checkpoint:
    weights = {"a": torch.full((3, 4), float(step)), "b": torch.arange(5.0)}
    facts = {"step": step, "epoch": step / 10, "samples": step * 16, "config_hash": "c0ffee"}
    facts |= {"code_revision": None, "metrics": {"loss": 0.5}}
    return checkpoints.save(directory, weights, {"step": step, "moments": [torch.ones(2)]}, facts)


@pytest.fixture
def complaints() -> list[str]:
    return []


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
def test_a_damaged_checkpoint_is_passed_over_loudly(tmp_path, complaints, damage):
    write(tmp_path, 10)
    damage(write(tmp_path, 20).path)
    newest = checkpoints.newest_valid(tmp_path, complaints.append)
    assert newest is not None
    assert newest.step == 10
    (complaint,) = complaints
    assert "step-000000020" in complaint


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
