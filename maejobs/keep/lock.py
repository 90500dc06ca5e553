"""One keeper at a time: rotation, backup and restore of a campaign exclude each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from maejobs.errors import MaejobsError, NotNow
from maejobs.files import FILE_MODE

LOCK_NAME = ".keep.lock"
PATIENCE = 2.0  # seconds; whoever holds it may be hashing gigabytes, and a later slot will do


@contextmanager
def hold(campaign: Path) -> Iterator[None]:
    """Hold the campaign's lock; the kernel releases it when this process dies, however it dies.

    Raises NotNow("lock", …) while another keeper holds it, MaejobsError where nobody can.
    """
    lock = FileLock(campaign / LOCK_NAME, timeout=PATIENCE, mode=FILE_MODE)
    try:
        lock.acquire()
    except Timeout as error:
        raise NotNow(
            "lock", f"{campaign}: another rotation, backup or restore is at work on it"
        ) from error
    except OSError as error:
        raise MaejobsError(f"{campaign}: cannot be locked: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()
