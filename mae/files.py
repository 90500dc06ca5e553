"""Files that are either whole or not there."""

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from mae.errors import OF_ROOM, BadInput, Busy

# What file systems without a sync of directories (some of FUSE's and networks') say to it.
NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}
FULL = 2**20  # bytes free, or fewer: then it was for want of room that a write failed


def place_of(what: str, path: str | Path, follow: bool = False) -> Path:
    """The absolute path that a user means, who may write ~ for a home; links followed if asked.

    Raises BadInput, which says `what` it is of, for an unknown home and, followed, for links in a
    circle: `Path.resolve` itself goes on with these from Python 3.13 on.
    """
    try:
        expanded = Path(path).expanduser()
    except RuntimeError:
        raise BadInput(f"{what}: there is no such home; write out its path") from None
    if not follow:
        return expanded.absolute()
    try:
        expanded.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BadInput(f"{what}: its links lead round in a circle; mend them") from None
    return Path(os.path.realpath(expanded))


def _beside(path: Path) -> Path:
    return path.with_name(f".tmp-{path.name}.{os.getpid()}")


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`: temporary name, fsync, rename, fsync of the directory."""
    temporary = _beside(path)
    _clear(temporary)
    try:
        with temporary.open("xb") as file:
            file.write(content)
        sync(temporary)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        _name(error, path)
        raise
    sync(path.parent)


def _clear(path: Path) -> None:
    """Take away what lies at a temporary name: of who had our number, or somebody's link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _name(error: BaseException, path: Path) -> None:
    """Say what was being written: of a full disk, the system does not."""
    if isinstance(error, OSError) and error.errno and error.filename is None:
        error.filename = str(path)


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A name beside `path` at which to write a file or a directory; after the block it is `path`.

    All of it is fsynced first. If the block fails, nothing is left. Raises BadInput if there is
    something at `path` already.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    _clear(temporary)
    try:
        yield temporary
        for written in (*temporary.rglob("*"), temporary):
            sync(written)
        refuse_existing(path)
        temporary.rename(path)
    except OSError as error:
        _name(error, path)
        raise
    finally:
        _clear(temporary)
    sync(path.parent)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """A block in which torch and safetensors write to `path`: a disk's refusal is an OSError."""
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        # Neither library says what the system told it.
        full = shutil.disk_usage(path.parent).free < FULL
        code = errno.ENOSPC if full else errno.EIO
        raise OSError(code, os.strerror(code), str(path)) from error


def refuse_existing(path: Path) -> None:
    """Raises BadInput if there is anything at `path`."""
    if path.exists() or path.is_symlink():
        raise BadInput(f"{path} exists already; name another --output, or take it away")


def refuse_unwritable(path: Path) -> None:
    """Raises BadInput if nothing can be made at `path`; to be asked before hours are spent on it.

    An empty file is made, and taken away again, in the nearest directory that is there already.
    """
    place = next(p for p in path.absolute().parents if os.path.lexists(p))
    probe = place / _beside(path).name
    try:
        _clear(probe)
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        if error.errno in OF_ROOM:
            raise
        raise BadInput(
            f"{path} cannot be written: {place}: {error.strerror}; "
            "name another place, or let this one be written"
        ) from None


def sync(path: Path) -> None:
    """Put a file's bytes, or the names in a directory, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC or not path.is_dir():
            raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def held(lock: Path, patience: float = 10.0) -> Iterator[None]:
    """Hold `lock` alone for the length of a block; raises Busy after `patience` seconds.

    The patience outlasts the data workers of a killed run: they inherit the lock, and leave a few
    seconds after their parent.
    """
    with lock.open("a") as file:
        give_up = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise Busy(
                        f"{lock.parent}: another mae process is at work here; "
                        "wait for it, or stop it"
                    ) from None
                time.sleep(0.2)
            except OSError as error:  # a network disk that has no locks, say
                raise OSError(error.errno, error.strerror, str(lock)) from None
        yield
