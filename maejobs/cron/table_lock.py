"""One writer at a time per table: a lock beside the table, not in a home, as homes share tables.

`flock(2)` is released by the kernel when the last process that holds it dies, however it dies.
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maejobs.cron.target import Target, TargetError
from maejobs.files import FILE_MODE, make_private_directory
from maejobs.privilege import Owner, acting_as

TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.02
# Below the user's home as the password file has it: HOME and XDG variables differ from shell to
# shell, the table does not.
PRIVATE_PLACE = Path(".local", "state", "maejobs")
LOCK_NAME = "crontab.lock"
SHARED_PLACE = Path("/tmp")  # not TMPDIR, for the same reason

_held: set[int] = set()


def held_descriptors() -> tuple[int, ...]:
    """The locks this process holds, for a child that must finish before anybody else begins."""
    return tuple(_held)


def user_lock_file(user_home: Path, owner: Owner) -> Path:
    """The lock of a user's crontab; in a shared place where the user has no home to write in."""
    place = user_home / PRIVATE_PLACE
    for directory in (place, *place.parents):
        if directory.exists():
            if directory.is_relative_to(user_home) and _is_writable(directory, owner):
                return place / LOCK_NAME
            break
    return SHARED_PLACE / f"maejobs-crontab-{owner.uid}.lock"


def _is_writable(directory: Path, owner: Owner) -> bool:
    """Asked of the mode and not of the system, so that root and the user get the same answer."""
    found = directory.stat()
    writable = found.st_uid == owner.uid and found.st_mode & stat.S_IRWXU == stat.S_IRWXU
    return writable and not os.statvfs(directory).f_flag & os.ST_RDONLY


@contextmanager
def lock_table(target: Target, timeout: float | None = None) -> Iterator[None]:
    """Hold the target's lock. Raises TargetError where it is not free in time or not to be had."""
    latest = time.monotonic() + (TIMEOUT_SECONDS if timeout is None else timeout)
    descriptor = open_lock(target, target.lock_file)
    try:
        while not _take(descriptor):
            if time.monotonic() >= latest:
                raise TargetError(
                    f"{target.name} is being changed by another maejobs: its lock "
                    f"{target.lock_file} did not become free in time"
                )
            time.sleep(POLL_SECONDS)
        _held.add(descriptor)
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_lock(target: Target, path: Path) -> int:
    """Open the table's lock at `path`, or one beside it, as the table's owner, made if need be.

    Follows no link and trusts nobody else's file. Raises TargetError.
    """
    try:
        with acting_as(target.owner):
            if path.parent.match(str(PRIVATE_PLACE)):
                make_private_directory(path.parent)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path, flags, FILE_MODE)
    except FileNotFoundError as error:
        raise TargetError(f"{target.name}: there is no directory {path.parent}") from error
    except OSError as error:
        blamed = os.path.lexists(path) and error.errno != errno.EROFS
        mend = "; remove that, or make it a file of the table's owner" if blamed else ""
        told = f"{target.name} cannot be locked: {path}: {error.strerror}{mend}"
        raise TargetError(told) from error
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_uid in (target.owner.uid, os.geteuid()):
        return descriptor
    os.close(descriptor)
    raise TargetError(
        f"{target.name} cannot be locked: {path} is not a file of the table's owner; remove it"
    )
