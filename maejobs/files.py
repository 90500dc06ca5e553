"""Files that are either whole or not there, readable by their owner only."""

import os
from pathlib import Path

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def make_private_directory(path: Path) -> Path:
    """`path` as a directory with mode 0700, its missing parents likewise."""
    for missing in reversed([p for p in (path, *path.parents) if not p.exists()]):
        missing.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    return path


def write_atomically(path: Path, content: bytes, mode: int = FILE_MODE) -> None:
    """Replace `path` by `content`: temporary name, fsync, rename, fsync of the directory.

    A reader, or a power cut, meets the old file or the new one, never a part of either.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames and new names in `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of the file's bytes."""
    import hashlib  # late: `maejobs list` has no use for it

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
