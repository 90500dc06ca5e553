"""One checkpoint copied so that its new place holds all of it, proven, or nothing of it."""

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from maejobs.errors import MaejobsError
from maejobs.files import (
    DIRECTORY_MODE,
    FILE_MODE,
    make_private_directory,
    sync_directory,
    write_atomically,
)
from maejobs.keep.checkpoint import EVALUATIONS, StoredCheckpoint
from maejobs.keep.manifest import (
    MANIFEST,
    PIN,
    DamagedCheckpointError,
    UnjudgedCheckpointError,
    inspect,
)
from maejobs.keep.trash import TEMPORARY, erase, set_aside

Progress = Callable[[str, int, int], None]  # checkpoint name, bytes done, bytes in all
CHUNK = 4 * 2**20
# What a campaign needs besides a checkpoint to go on as it would have: what it learns by, what it
# learnt, and which steps it leaves out. And what it learnt by before.
NEEDED = ("config.toml", "metrics.jsonl", "skipped.json")
FORMER_CONFIGS = "config-until-step-*.toml"


def copy_checkpoint(
    source: StoredCheckpoint, directory: Path, on_progress: Progress | None = None
) -> None:
    """Copy a valid checkpoint into `directory` under its own name, replacing a damaged one there.

    1. Copy its manifest and the files that names under a temporary name, each fsynced.
    2. Read the copy back and compare every file with the manifest's SHA-256.
    3. Rename, and make the name durable.

    Raises MaejobsError where the copy fails or differs; `directory` is then as it was.
    """
    place = directory / source.name
    temporary = directory / f"{TEMPORARY}copy-{source.name}"
    try:
        manifest = inspect(source.path, source.step)
        erase(temporary)
        temporary.mkdir(mode=DIRECTORY_MODE)
        done, total = 0, sum(file.bytes for file in manifest.files)
        for name in [*(file.name for file in manifest.files), MANIFEST]:
            for count in _copy_file(source.path / name, temporary / name):
                done += count
                if on_progress:
                    on_progress(source.name, min(done, total), total)
        sync_directory(temporary)
        _prove_copy(source, temporary)
        if source.pinned:
            (temporary / PIN).touch(mode=FILE_MODE)
        damaged = set_aside(place) if os.path.lexists(place) else None
        temporary.rename(place)
        sync_directory(directory)
        if damaged:
            erase(damaged)
    except (OSError, DamagedCheckpointError, UnjudgedCheckpointError) as error:
        raise MaejobsError(f"{source.path} to {directory}: not copied: {error}") from error
    finally:
        erase(temporary)


def copy_small_files(source: Path, target: Path, replace: bool) -> None:
    """Copy a campaign's configs, history and evaluations; `replace` those that differ there."""
    small = [*(source / name for name in NEEDED), *sorted(source.glob(FORMER_CONFIGS))]
    if not (source / EVALUATIONS).is_symlink():
        small += sorted((source / EVALUATIONS).glob("*.json"))
    for path in small:
        copy = target / path.relative_to(source)
        if path.is_symlink() or not path.is_file() or (copy.exists() and not replace):
            continue
        content = path.read_bytes()
        if not copy.is_file() or copy.read_bytes() != content:
            make_private_directory(copy.parent)
            write_atomically(copy, content)


def require_room(wanted: Iterable[StoredCheckpoint], directory: Path) -> None:
    """Raise MaejobsError, naming both figures, unless the disk of `directory` takes them all."""
    from humanize import naturalsize

    need = sum(checkpoint.bytes for checkpoint in wanted)
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    have = shutil.disk_usage(existing).free
    if need > have:
        raise MaejobsError(
            f"{directory}: not enough room: {naturalsize(need)} are needed,"
            f" {naturalsize(have)} are free"
        )


def _copy_file(source: Path, target: Path) -> Iterable[int]:
    """Copy the bytes, yielding how many at a time; then out of memory and onto the disk."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with os.fdopen(descriptor, "wb") as writer, source.open("rb") as reader:
        while chunk := reader.read(CHUNK):
            writer.write(chunk)
            yield len(chunk)
        writer.flush()
        os.fsync(writer.fileno())
        # Otherwise the check would read what memory remembers, not what the disk holds.
        os.posix_fadvise(writer.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _prove_copy(source: StoredCheckpoint, copy: Path) -> None:
    inspect(copy, source.step, deep=True)
    if (copy / MANIFEST).read_bytes() != (source.path / MANIFEST).read_bytes():
        raise DamagedCheckpointError(f"{MANIFEST} differs")
