"""One scheduler a table: the daemon's lock, and the look for a cron that reads the same table."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maejobs.cron.table_lock import open_lock
from maejobs.cron.target import Target
from maejobs.errors import UserError

CRONS = ("cron", "crond")


@contextmanager
def only_daemon(target: Target) -> Iterator[None]:
    """Hold the table's daemon lock.

    Raises UserError where another daemon holds it, TargetError where it is not to be had.
    """
    descriptor = open_lock(target, _lock_file(target))
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another maejobs daemon serves the {target.name}; two would start each job twice"
            ) from None
        yield
    finally:
        os.close(descriptor)


def is_served(target: Target) -> bool:
    """Whether a daemon of ours holds the table's lock."""
    try:
        descriptor = os.open(_lock_file(target), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock_file(target: Target) -> Path:
    return target.lock_file.with_name(target.lock_file.name + ".daemon")


def running_cron() -> int | None:
    """The process id of a cron daemon on this host; None: none."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text(errors="replace").strip()
            state = (process / "stat").read_text(errors="replace").rpartition(") ")[2][:1]
        except OSError:
            continue
        if name in CRONS and state != "Z":
            return int(process.name)
    return None
