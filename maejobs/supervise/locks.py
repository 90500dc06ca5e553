"""Locks that the kernel releases on death: of the supervisor, and of the command it started.

`flock(2)` locks belong to the open file, which the child inherits: should the supervisor be
killed, the lock stays taken for as long as the command lives, and not a moment longer.
"""

import fcntl
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from maejobs.files import FILE_MODE, make_private_directory
from maejobs.home import Home
from maejobs.supervise.line import Line

POLL_SECONDS = 0.2
LOOK_SECONDS = 5.0  # for somebody who only looks whether a lock is held, and is held up at that


@dataclass(frozen=True)
class Lock:
    """A lock that is held; released by `release`, at the end of a `with`, or by death."""

    path: Path
    descriptor: int

    def release(self) -> None:
        """Unlock for everybody who inherited it, and close our descriptor."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)

    def __enter__(self) -> "Lock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def named_lock_file(home: Home, name: str) -> Path:
    """The lock that job files call `name`."""
    return home.locks_dir / f"lock-{name}.lock"


def acquire(
    path: Path,
    holder: str,
    timeout: float = 0.0,
    give_up: Callable[[], bool] = lambda: False,
    yields_to: Callable[[str], bool] = lambda who: False,
) -> Lock | None:
    """The lock at `path`, waited for up to `timeout` seconds; None if somebody keeps it.

    Who waits stands in line, and nobody overtakes: while somebody waits, the lock is not to be had
    at once. `holder` is written into the file for `holder_of`. `give_up` is asked while waiting,
    and `yields_to` of whoever is before us: the first in line, or the holder.
    """
    make_private_directory(path.parent)
    latest = time.monotonic() + timeout
    with Line(line_of(path), holder) as line:
        while True:
            first = line.ahead()
            if first is None and (lock := _try(path, holder)):
                return lock
            if time.monotonic() >= latest or give_up() or yields_to(first or holder_of(path)):
                return None
            line.join()
            time.sleep(POLL_SECONDS)


def line_of(path: Path) -> Path:
    """Where those stand in line who wait for the lock at `path`."""
    return path.with_suffix(".line")


def _try(path: Path, holder: str) -> Lock | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        taken = _lock(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    if not taken:
        os.close(descriptor)
        return None
    _sign(descriptor, holder)
    return Lock(path, descriptor)


def _lock(descriptor: int) -> bool:
    """Take the lock; False if it is held.

    Who only looks whether it is held takes it for a moment, shared (watch/renamed.py): no holder
    to be put off by.
    """
    latest = time.monotonic() + LOOK_SECONDS
    while not _flocked(descriptor, fcntl.LOCK_EX):
        if not _flocked(descriptor, fcntl.LOCK_SH) or time.monotonic() >= latest:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # or two who look so would wait for each other
        time.sleep(random.uniform(0.001, 0.01))
    return True


def _flocked(descriptor: int, kind: int) -> bool:
    """Whether `flock(2)` gave the lock at once."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(descriptor: int, holder: str) -> None:
    """Write the holder's name into the file; a full disk costs the name, not the lock."""
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
    except OSError:
        return


def holder_of(path: Path) -> str:
    """Who took the lock last, for messages."""
    try:
        return path.read_text(errors="replace").strip() or "another run"
    except OSError:
        return "another run"
