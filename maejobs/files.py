"""Files that are either whole or not there, readable by their owner only."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def real_path(path: Path) -> Path:
    """Where links lead, as far as they lead anywhere; never an error.

    `Path.resolve` is one for links in a circle, until Python 3.13.
    """
    return Path(os.path.realpath(path))


def make_private_directory(path: Path) -> Path:
    """`path` as a directory with mode 0700, its missing parents likewise."""
    for missing in reversed([p for p in (path, *path.parents) if not p.exists()]):
        missing.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    return path


def write_atomically(
    path: Path,
    content: bytes,
    mode: int = FILE_MODE,
    owner: tuple[int, int] | None = None,
    at_last: Callable[[], None] = lambda: None,
) -> None:
    """Replace `path` by `content`: temporary name, fsync, rename, fsync of the directory.

    A reader, or a power cut, meets the old file or the new one, never a part of either. `owner`:
    the numbers of the user and the group it is given to, which takes root. `at_last` is called
    right before the rename, which does not come to pass if it raises.
    """
    with _temporary(path, content, mode) as temporary:
        if owner is not None:
            os.chown(temporary, *owner)
        at_last()
        temporary.replace(path)
    sync_directory(path.parent)


def create_atomically(path: Path, content: bytes, mode: int = FILE_MODE) -> None:
    """Make `path` with `content`, whole or not at all. Raises FileExistsError if it is there."""
    with _temporary(path, content, mode) as temporary:
        os.link(temporary, path)
    sync_directory(path.parent)


@contextmanager
def _temporary(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """A file beside `path`, written and fsynced; gone at the end unless it was renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # of a process that had our number, or somebody's link
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except OSError as error:
        if error.filename is None:  # a full disk is told of the descriptor only
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(directory: Path) -> None:
    """Delete the temporary files of processes that were killed before they had renamed them."""
    for path in directory.glob(".*.tmp"):
        pid = path.name.split(".")[-2]
        if pid.isdigit() and not Path("/proc", pid).exists():
            path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path, mode: int = FILE_MODE) -> Iterator[Path]:
    """An empty file to be filled, beside `path`; it then replaces that, whole and fsynced.

    For what is written bit by bit, or by others. Where that fails, `path` is as it was.
    """
    with _temporary(path, b"", mode) as temporary:
        yield temporary
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    sync_directory(path.parent)


def open_plain(path: Path) -> BinaryIO:
    """`path` opened to be read, where a command may have put anything in its place.

    Raises OSError, also for what is no plain file: a pipe would be waited for, a device never end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no plain file", str(path))
    return os.fdopen(descriptor, "rb")


def size_of(path: Path) -> int:
    """The file's size in bytes; 0 where there is none, or none that can be seen."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


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
