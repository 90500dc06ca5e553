"""Checkpoints that are whole or not there.

    checkpoints/step-000001500/
        weights.safetensors   the network, under the published key names
        state.pt              optimiser and position; loads with weights_only=True
        manifest.json         written last: step, sizes and SHA-256 of the two files

A checkpoint grows under `.tmp-step-...`, every file is fsynced, and one rename publishes it. The
newest valid one is found by reading manifests: there is no pointer that could dangle.
"""

import errno
import json
import re
import shutil
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mae.errors import BadInput
from mae.files import disk_errors, sha256_of, sync

FORMAT = 1
WEIGHTS, STATE, MANIFEST = "weights.safetensors", "state.pt", "manifest.json"
TEMPORARY = ".tmp-"
NAME = re.compile(r"step-\d+")
# Of a file that is lost. What else a disk says (a network disk above all) may pass.
LOST = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
PATIENCE_SECONDS = 2.0


class Unread(BadInput):
    """A checkpoint cannot be read now, here, by us; nothing says that it is damaged."""


@dataclass(frozen=True)
class Checkpoint:
    """One on the disk: its directory and what its manifest says."""

    path: Path
    manifest: dict[str, Any]

    @property
    def step(self) -> int:
        """Optimiser steps done when it was written."""
        return int(self.manifest["step"])

    @property
    def size(self) -> int:
        """Bytes of its weights and state."""
        return sum(file["bytes"] for file in self.manifest["files"].values())

    @property
    def sha256(self) -> str:
        """SHA-256 of its weights."""
        return str(self.manifest["files"][WEIGHTS]["sha256"])


def save(
    directory: Path, weights: dict[str, Tensor], state: dict[str, Any], facts: dict[str, Any]
) -> Checkpoint:
    """Write a checkpoint below `directory`; `facts` go into the manifest and have the step."""
    final = directory / f"step-{facts['step']:09d}"
    temporary = directory / f"{TEMPORARY}{final.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True, exist_ok=True)  # NFS keeps what another has open
    try:
        manifest = _write(temporary, weights, state, facts)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)  # what is left of it fills a full disk
        raise
    if final.exists():
        _make_way(final)
    temporary.rename(final)
    sync(directory)
    return Checkpoint(final, manifest)


def _write(
    temporary: Path, weights: dict[str, Tensor], state: dict[str, Any], facts: dict[str, Any]
) -> dict[str, Any]:
    """Fill a checkpoint's directory and put it on the disk; its manifest."""
    with disk_errors(temporary):
        save_file(
            {k: v.detach().cpu().contiguous() for k, v in weights.items()}, temporary / WEIGHTS
        )
        torch.save(state, temporary / STATE)
    files = {
        name: {"bytes": (temporary / name).stat().st_size, "sha256": sha256_of(temporary / name)}
        for name in (WEIGHTS, STATE)
    }
    created = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = {"format": FORMAT, **facts, "created": created, "files": files}
    (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    for path in (*(temporary / name for name in (WEIGHTS, STATE, MANIFEST)), temporary):
        sync(path)
    return manifest


def _make_way(path: Path) -> None:
    """Free a name that a new checkpoint takes.

    We resume from the newest valid one, so this was passed over. It goes only if it is damaged: one
    that could not be read then may be sound, and keeps its bytes under another name.
    """
    try:
        read(path, hashes=True)
    except Unread:
        pass
    except BadInput:
        shutil.rmtree(path)
        return
    names = (path.with_name(f"{path.name}.unread-{number}") for number in count(1))
    path.rename(next(name for name in names if not name.exists()))


def to_host(value: Any, keep: bool = True) -> Any:
    """A copy of tensors in the host's memory, in the same dictionaries, lists and tuples.

    Sharded ones become whole, one after the other, which takes all processes; those that do not
    `keep` it get None.
    """
    if isinstance(value, Tensor):
        whole = value.full_tensor() if hasattr(value, "full_tensor") else value
        return whole.detach().to("cpu", copy=True) if keep else None
    if isinstance(value, dict):
        return {key: to_host(part, keep) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_host(part, keep) for part in value)
    return value


def read(path: Path, hashes: bool = False) -> Checkpoint:
    """The checkpoint in a directory, if its files have the sizes (and hashes) of its manifest.

    Raises BadInput saying what is wrong otherwise, Unread where that may pass.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        if manifest["format"] != FORMAT:
            raise Unread(f"{path}: format {manifest['format']} is not known to this mae")
        for name, told in manifest["files"].items():
            found = (path / name).stat()
            if not stat.S_ISREG(found.st_mode) or found.st_size != told["bytes"]:
                raise BadInput(f"{path / name}: not the {told['bytes']} bytes of its manifest")
            if hashes and sha256_of(path / name) != told["sha256"]:
                raise BadInput(f"{path / name}: not the SHA-256 of its manifest")
        checkpoint = Checkpoint(path, manifest)
        _ = checkpoint.step, checkpoint.sha256
    except OSError as error:
        kind = BadInput if error.errno in LOST else Unread
        raise kind(f"{error.filename or path}: {error.strerror}") from None
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path / MANIFEST}: not a manifest ({error!r})") from None
    return checkpoint


def newest_valid(
    directory: Path, complain: Callable[[str], None], hashes: bool = True
) -> Checkpoint | None:
    """The newest checkpoint that is what its manifest says; complains of newer ones."""
    patience = PATIENCE_SECONDS  # for all of them together
    for path in reversed(numbered(directory)):
        try:
            try:
                return read(path, hashes)
            except Unread:
                time.sleep(patience)
                patience = 0.0
                return read(path, hashes)
        except BadInput as error:
            how = "cannot be read now" if isinstance(error, Unread) else "is damaged"
            complain(f"checkpoint {path.name} {how} and is left out: {error}")
    return None


def numbered(directory: Path) -> list[Path]:
    """What has a checkpoint's name, valid or not, oldest first; none where is no directory.

    Raises OSError if it cannot be looked into: a campaign must not begin anew for that.
    """
    try:
        found = [path for path in directory.iterdir() if NAME.fullmatch(path.name)]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda path: int(path.name[5:]))


def set_aside(checkpoint: Checkpoint) -> Path:
    """Give a checkpoint that is of no use a name that nobody goes on from: where it is now."""
    aside = checkpoint.path.with_name(f"{checkpoint.path.name}.diverged")
    shutil.rmtree(aside, ignore_errors=True)
    checkpoint.path.rename(aside)
    sync(aside.parent)
    return aside


def load_weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The network's state dict, on the CPU."""
    return load_file(checkpoint.path / WEIGHTS)


def load_state(checkpoint: Checkpoint, mapped: bool = False) -> dict[str, Any]:
    """Optimiser and position, as given to `save`, on the CPU; `mapped` reads only what is used."""
    state: dict[str, Any] = torch.load(
        checkpoint.path / STATE, map_location="cpu", weights_only=True, mmap=mapped
    )
    return state


def remove_before(checkpoint: Checkpoint) -> None:
    """Remove the other checkpoints beside one, where only the last counts."""
    for path in checkpoint.path.parent.glob("step-*"):
        if path != checkpoint.path:
            shutil.rmtree(path, ignore_errors=True)


def clean(directory: Path) -> None:
    """Remove what killed runs left half written."""
    for path in directory.glob(f"{TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True)
