"""Real campaigns on a real disk, small ones: what mae writes, written by hand."""

import errno
import json
import random
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

FIRST_NIGHT = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


def name_of(step: int) -> str:
    return f"step-{step:09d}"


def write_checkpoint(
    campaign: Path,
    step: int,
    created: datetime | None = None,
    metrics: Mapping[str, Any] | None = None,
    extra_files: int = 0,
    said: Mapping[str, Any] | None = None,
) -> Path:
    """A checkpoint as mae leaves it; `said` overrides what its manifest says."""
    directory = campaign / "checkpoints" / name_of(step)
    directory.mkdir(parents=True)
    names = ["weights.safetensors", "state.pt", *(f"part-{i}" for i in range(extra_files))]
    contents = {name: random.Random(f"{step} {name}").randbytes(500) for name in names}
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    manifest = {
        "format": 1,
        "step": step,
        "epoch": step / 10,
        "samples": step * 64,
        "created": (created or FIRST_NIGHT + timedelta(days=step)).isoformat(),
        "config_hash": "c0ffee",
        "code_revision": None,
        "metrics": dict(metrics or {}),
        "files": {
            name: {"bytes": len(content), "sha256": sha256(content).hexdigest()}
            for name, content in contents.items()
        },
    }
    (directory / "manifest.json").write_text(json.dumps(manifest | dict(said or {})))
    return directory


def write_evaluation(campaign: Path, step: int, **metrics: float) -> Path:
    path = campaign / "evaluations" / f"{name_of(step)}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        json.dumps(
            {
                "step": step,
                "checkpoint": name_of(step),
                "created": FIRST_NIGHT.isoformat(),
                "metrics": metrics,
            }
        )
    )
    return path


def write_campaign(campaign: Path, *steps: int) -> Path:
    campaign.mkdir(parents=True, exist_ok=True)
    (campaign / "config.toml").write_text('model = "tiny"\n')
    (campaign / "checkpoints").mkdir(exist_ok=True)
    for step in steps:
        write_checkpoint(campaign, step)
    return campaign


def checkpoint_path(campaign: Path, step: int) -> Path:
    return campaign / "checkpoints" / name_of(step)


def tear(campaign: Path, step: int) -> None:
    """Cut a file short, as a full disk does: seen without reading a byte."""
    file = checkpoint_path(campaign, step) / "state.pt"
    file.write_bytes(file.read_bytes()[:-1])


def flip_a_bit(campaign: Path, step: int) -> None:
    """Alter a file but not its size, as a failing disk does: seen by SHA-256 only."""
    file = checkpoint_path(campaign, step) / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[250] ^= 1
    file.write_bytes(bytes(content))


def steps_in(campaign: Path) -> list[int]:
    return sorted(int(path.name[5:]) for path in (campaign / "checkpoints").glob("step-*"))


def snapshot(root: Path) -> dict[str, bytes | None]:
    """Every path below `root` with its content: equal snapshots mean that nothing was touched."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
    }


def refuse_to_delete(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the system refuse to delete what is, or was, called so: it holds a file of root's."""
    really = shutil.rmtree

    def rmtree(path: Path, *arguments: Any, **settings: Any) -> None:
        if Path(path).name.removeprefix(".trash-") == name:
            raise PermissionError(errno.EPERM, "Operation not permitted", "of-root")
        really(path, *arguments, **settings)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
