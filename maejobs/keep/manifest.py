"""Whether a checkpoint directory is what its manifest says: present, of the right size, unaltered.

A manifest is read as hostile input: it may be torn, come from another program, or name files
outside its directory. Nothing it says is believed before it is checked.
"""

import json
import math
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from pathlib import Path
from typing import TypeGuard

from maejobs.files import sha256_of

MANIFEST = "manifest.json"
PIN = "pinned"
FORMAT = 1
REQUIRED = ("weights.safetensors", "state.pt")
MAX_MANIFEST_BYTES = 16 * 2**20
SHA256 = re.compile(r"[0-9a-f]{64}")


class DamagedCheckpointError(Exception):
    """The checkpoint is damaged; the message says how. No training could go on from it."""


class UnjudgedCheckpointError(Exception):
    """Whether it is good cannot be told here: a newer format, a disk error, somebody's link."""


@dataclass(frozen=True)
class StoredFile:
    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    step: int
    created: datetime  # timezone-aware UTC
    metrics: dict[str, float]
    files: tuple[StoredFile, ...]


def inspect(directory: Path, step: int, deep: bool = False) -> Manifest:
    """The manifest of a checkpoint whose every file is there with its size; `deep`: its SHA-256.

    Raises DamagedCheckpointError where something is wrong with it, UnjudgedCheckpointError where
    it cannot be told: that one may be good, so nobody may delete it.
    """
    try:
        if directory.is_symlink():
            raise UnjudgedCheckpointError("a symbolic link")
        manifest = parse_manifest(_read_manifest(directory / MANIFEST))
        if manifest.step != step:
            raise DamagedCheckpointError(f"{MANIFEST} is of step {manifest.step}")
        for file in manifest.files:
            _check_file(directory / file.name, file, deep)
    except OSError as error:
        raise UnjudgedCheckpointError(f"cannot be read: {error.strerror or error}") from error
    return manifest


def parse_manifest(content: bytes) -> Manifest:
    """A manifest's bytes understood.

    Raises DamagedCheckpointError, or UnjudgedCheckpointError for a newer format.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedCheckpointError(f"{MANIFEST} is not JSON") from error
    if not isinstance(data, dict):
        raise DamagedCheckpointError(f"{MANIFEST} is not an object")
    version = data.get("format")
    if _is_count(version) and version > FORMAT:
        raise UnjudgedCheckpointError(f"format {version} is newer than this maejobs")
    step = data.get("step")
    if version != FORMAT or not _is_count(step):
        raise DamagedCheckpointError(f"{MANIFEST} has no known format or no step")
    return Manifest(
        step,
        _parse_instant(data.get("created")),
        numbers(data.get("metrics")),
        _parse_files(data.get("files")),
    )


def numbers(metrics: object) -> dict[str, float]:
    """The finite numbers among `metrics`; a NaN loss or a note must not win "best"."""
    if not isinstance(metrics, Mapping):
        return {}
    found = {}
    for name, value in metrics.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                continue
            if math.isfinite(number):
                found[str(name)] = number
    return found


def _read_manifest(path: Path) -> bytes:
    if _plain_file_size(path) > MAX_MANIFEST_BYTES:
        raise DamagedCheckpointError(f"{MANIFEST} is too large")
    return path.read_bytes()


def _parse_instant(text: object) -> datetime:
    try:
        at = datetime.fromisoformat(str(text))
        # The contract says UTC, so a missing offset is a slip of the pen and not another zone.
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise DamagedCheckpointError(f"{MANIFEST} has no date of creation") from error
    if at.year in (MINYEAR, MAXYEAR):  # which not every zone can show
        raise DamagedCheckpointError(f"{MANIFEST} has no date of creation")
    return at


def _parse_files(files: object) -> tuple[StoredFile, ...]:
    if not isinstance(files, dict):
        raise DamagedCheckpointError(f"{MANIFEST} lists no files")
    if absent := [name for name in REQUIRED if name not in files]:
        raise DamagedCheckpointError(f"{MANIFEST} does not list {' and '.join(absent)}")
    return tuple(_parse_file(name, entry) for name, entry in files.items())


def _parse_file(name: str, entry: object) -> StoredFile:
    if not _is_plain_name(name):
        raise DamagedCheckpointError(f"{MANIFEST} names {name!r}, not a file of its own directory")
    size, digest = (entry.get("bytes"), entry.get("sha256")) if isinstance(entry, dict) else (0, 0)
    if not _is_count(size) or not SHA256.fullmatch(str(digest)):
        raise DamagedCheckpointError(f"{MANIFEST} gives no size or SHA-256 of {name}")
    return StoredFile(name, size, str(digest))


def _is_plain_name(name: str) -> bool:
    reserved = ("", ".", "..", MANIFEST, PIN)
    return name not in reserved and name.isprintable() and "/" not in name


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _check_file(path: Path, expected: StoredFile, deep: bool) -> None:
    size = _plain_file_size(path)
    if size != expected.bytes:
        raise DamagedCheckpointError(f"{path.name} has {size} bytes instead of {expected.bytes}")
    if deep and sha256_of(path) != expected.sha256:
        raise DamagedCheckpointError(f"{path.name} does not match its SHA-256")


def _plain_file_size(path: Path) -> int:
    # lstat, because a link could lead anywhere, and a pipe would block whoever opens it.
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedCheckpointError(f"{path.name} is missing") from error
    if not stat.S_ISREG(status.st_mode):
        raise DamagedCheckpointError(f"{path.name} is not a plain file")
    return status.st_size
