"""Hides secrets in a log that a command writes by itself: each byte of one becomes an asterisk.

Written over in place, so that sizes, offsets and the times of lines stay as they were; the command,
which only appends, notices nothing.
"""

import errno
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from maejobs.jobs.secrets import SHORTEST

CHUNK = 1_000_000  # bytes looked through at once
_log = logging.getLogger(__name__)


def spans(data: bytes, secrets: Sequence[bytes]) -> list[tuple[int, int]]:
    """Begin and end of each place in `data` where a secret stands, also over another's. Pure."""
    found = [(at, at + len(secret)) for secret in secrets for at in _places(data, secret)]
    return sorted(found)


def _places(data: bytes, secret: bytes) -> Iterator[int]:
    at = data.find(secret)
    while at >= 0:
        yield at
        at = data.find(secret, at + 1)


class Redaction:
    """Keeps one log without these secrets, by looking at what is new of it again and again."""

    def __init__(self, log: Path, secrets: Sequence[str]) -> None:
        self._log = log
        told = {secret.encode(errors="surrogateescape") for secret in secrets}
        self._secrets = [secret for secret in told if len(secret) >= SHORTEST]
        # So much of what was looked at already may be the beginning of a secret.
        self._overlap = max(map(len, self._secrets), default=1) - 1
        self._seen = 0
        self._told = False

    def tick(self) -> None:
        """Hide what has come. Costs the run nothing, whatever goes wrong."""
        if not self._secrets:
            return
        try:
            if self._log.stat().st_size > self._seen:
                self._look()
        except OSError as error:
            if error.errno != errno.ENOENT and not self._told:  # it may come yet
                self._told = True
                _log.warning("secrets in %s are not hidden: %s", self._log, error.strerror)

    def _look(self) -> None:
        descriptor = os.open(self._log, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            while True:
                start = _next_data(descriptor, max(0, self._seen - self._overlap))
                data = os.pread(descriptor, CHUNK + self._overlap, start)
                if start + len(data) <= self._seen:
                    return
                for begin, end in spans(data, self._secrets):
                    os.pwrite(descriptor, b"*" * (end - begin), start + begin)
                self._seen = start + len(data)
        finally:
            os.close(descriptor)


def _next_data(descriptor: int, offset: int) -> int:
    """Where the next byte is at `offset` or after it that was not dropped (see log_limit)."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return offset
