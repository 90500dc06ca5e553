"""A campaign's checkpoints as they lie on disk, each with what is wrong with it, and their pins.

    campaign/
        config.toml
        checkpoints/step-000001200/   weights.safetensors  state.pt  manifest.json  [pinned]
        evaluations/step-000001200.json

The newest valid checkpoint is found by reading manifests; no pointer exists that could dangle.
"""

import json
import os
import re
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from maejobs.errors import UserError
from maejobs.files import FILE_MODE, sync_directory
from maejobs.keep.manifest import (
    PIN,
    DamagedCheckpointError,
    UnjudgedCheckpointError,
    inspect,
    numbers,
)

CHECKPOINTS = "checkpoints"
EVALUATIONS = "evaluations"
STEP_NAME = re.compile(r"step-([0-9]{9,18})")


@dataclass(frozen=True)
class StoredCheckpoint:
    """One `step-…` directory. `problem` says why it is not valid; None: it is."""

    path: Path
    name: str
    step: int
    created: datetime  # timezone-aware UTC
    bytes: int
    pinned: bool = False
    metrics: dict[str, float] = field(default_factory=dict)  # an evaluation's over the manifest's
    problem: str | None = None
    judged: bool = True  # False: it may be good, only not for us to tell; never to be deleted
    evaluated: bool = False

    @property
    def valid(self) -> bool:
        return self.problem is None


def read_checkpoints(campaign: Path, deep: bool = False) -> list[StoredCheckpoint]:
    """The campaign's checkpoints, newest (by step) first, damaged ones included with their problem.

    `deep` compares every file with its SHA-256, which reads all of it. Temporaries and trash are
    not checkpoints. Raises UserError where there is no such campaign.
    """
    directory = checkpoints_directory(campaign)
    if not directory.is_dir():
        return []
    found = [
        checkpoint
        for path in directory.iterdir()
        if STEP_NAME.fullmatch(path.name) and (checkpoint := _read(path, deep))
    ]
    return sorted(found, key=lambda c: (c.step, c.created), reverse=True)


def newest_valid(campaign: Path, deep: bool = False) -> StoredCheckpoint | None:
    """The checkpoint to go on from; None where the campaign has no good one yet."""
    for checkpoint in read_checkpoints(campaign):
        if checkpoint.valid and (not deep or verified(checkpoint).valid):
            return checkpoint
    return None


def verified(checkpoint: StoredCheckpoint) -> StoredCheckpoint:
    """The same checkpoint, read again from disk and every byte of it compared with its SHA-256."""
    again = _read(checkpoint.path, deep=True)
    if again is None:
        raise UserError(f"{checkpoint.path}: went away while it was being verified")
    return again


def checkpoints_directory(campaign: Path) -> Path:
    """Where the checkpoints lie, there or not yet.

    Raises UserError where `campaign` is no directory, or its checkpoints are a symbolic link:
    what is deleted here must lie in the campaign it is named by.
    """
    if not campaign.is_dir():
        raise UserError(f"{campaign}: no such campaign directory")
    directory = campaign / CHECKPOINTS
    if directory.is_symlink():
        raise UserError(
            f"{directory}: a symbolic link; name the campaign where it really lies,"
            " or link the whole campaign directory instead"
        )
    return directory


def pin(checkpoint_dir: Path) -> None:
    """Keep this checkpoint whatever any policy says. Raises UserError where it is none."""
    require_checkpoint(checkpoint_dir)
    mark = checkpoint_dir / PIN
    if not os.path.lexists(mark):
        try:
            mark.touch(mode=FILE_MODE)
        except FileNotFoundError as error:
            raise UserError(f"{checkpoint_dir}: has just been deleted") from error
        sync_directory(checkpoint_dir)


def unpin(checkpoint_dir: Path) -> None:
    """Leave this checkpoint to the policy again. Raises UserError where it is none."""
    require_checkpoint(checkpoint_dir)
    (checkpoint_dir / PIN).unlink(missing_ok=True)
    sync_directory(checkpoint_dir)


def is_pinned(checkpoint_dir: Path) -> bool:
    return os.path.lexists(checkpoint_dir / PIN)


def step_of(name: str) -> int:
    """The step in a checkpoint's name. Raises UserError where the name is of another kind."""
    if match := STEP_NAME.fullmatch(name):
        return int(match[1])
    raise UserError(f"{name}: not a checkpoint's name, which looks like step-000001200")


def require_checkpoint(path: Path) -> None:
    """Raises UserError where `path` is no checkpoint's directory."""
    step_of(path.absolute().name)
    if path.is_symlink() or not path.is_dir():
        raise UserError(f"{path}: no such checkpoint directory")


def _read(path: Path, deep: bool) -> StoredCheckpoint | None:
    """What lies at `path`; None where it has gone meanwhile or is no directory."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    step, linked = step_of(path.name), stat.S_ISLNK(status.st_mode)
    if not linked and not stat.S_ISDIR(status.st_mode):
        return None
    created = datetime.fromtimestamp(status.st_mtime, UTC)
    metrics: dict[str, float] = {}
    problem, judged = None, True
    try:
        manifest = inspect(path, step, deep)
        created, metrics = manifest.created, manifest.metrics
    except DamagedCheckpointError as error:
        problem = str(error)
    except UnjudgedCheckpointError as error:
        problem, judged = str(error), False
    scores = _read_scores(path.parent.parent / EVALUATIONS / f"{path.name}.json", step)
    return StoredCheckpoint(
        path,
        path.name,
        step,
        created,
        bytes=0 if linked else _bytes_in(path),
        pinned=not linked and is_pinned(path),
        metrics=metrics | scores,
        problem=problem,
        judged=judged,
        evaluated=bool(scores),
    )


def _read_scores(path: Path, step: int) -> dict[str, float]:
    # A torn evaluation only means "not scored yet": it is written anew by the next evaluation.
    try:
        data = json.loads(path.read_bytes()) if path.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(data, dict) or data.get("step") != step:
        return {}
    return numbers(data.get("metrics"))


def _bytes_in(directory: Path) -> int:
    try:
        sizes = [path.lstat() for path in directory.iterdir()]
    except OSError:
        return 0
    return sum(status.st_size for status in sizes if stat.S_ISREG(status.st_mode))
