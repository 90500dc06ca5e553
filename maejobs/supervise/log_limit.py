"""Bounds a log that a command writes by itself: the disk space of its middle is given back.

A hole is punched into the file. The command notices nothing: it goes on appending, sizes and
offsets stay as they were, and it works on a full disk, which it helps.
"""

import ctypes
import errno
import logging
import os
from pathlib import Path

HEAD_SHARE = 4  # a quarter of what is kept is from the beginning, the rest from the end
_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02  # <linux/falloc.h>
_log = logging.getLogger(__name__)


def middle(size: int, limit: int, block: int) -> tuple[int, int]:
    """Begin and end of what goes of a log of `size` bytes so that about `limit` are kept.

    Both are multiples of `block`, since the file system keeps or gives back whole blocks only; so
    up to a block more is kept.
    """
    begin = limit // HEAD_SHARE // block * block
    end = (size - (limit - begin)) // block * block
    return begin, max(begin, end)


class LogLimit:
    """Keeps one log within its limit, by looking at it again and again."""

    def __init__(self, log: Path, limit: int) -> None:
        self._log = log
        self._limit = limit
        self._dropped_to = 0
        self._works = True

    def tick(self) -> None:
        """Drop what has become the middle. Costs the run nothing, whatever goes wrong."""
        if not self._works:
            return
        try:
            status = self._log.stat()
            if status.st_size > self._limit:
                self._drop(*middle(status.st_size, self._limit, max(status.st_blksize, 4096)))
        except OSError as error:
            self._works = error.errno == errno.ENOENT  # it may come yet
            if not self._works:
                _log.warning("%s is not kept within its limit: %s", self._log, error.strerror)

    def _drop(self, begin: int, end: int) -> None:
        begin = max(begin, self._dropped_to)
        if begin < end:
            punch_hole(self._log, begin, end)
            self._dropped_to = end


def punch_hole(path: Path, begin: int, end: int) -> None:
    """Give the bytes from `begin` to `end` back to the file system; they read as zeros.

    Raises OSError, with EOPNOTSUPP where the file system cannot.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong)
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if libc.fallocate(descriptor, _KEEP_SIZE | _PUNCH_HOLE, begin, end - begin):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)
