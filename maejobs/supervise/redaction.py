"""Hides secrets in a log that a command writes by itself: each byte of one becomes an asterisk.

Written over in place, so that sizes, offsets and the times of lines stay as they were; the command,
which only appends, notices nothing.
"""

import errno
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

from maejobs.files import size_of
from maejobs.jobs.secrets import SHORTEST, merged, spans

CHUNK = 250_000  # bytes looked through at once
LONGEST_LOOK_SECONDS = 0.2  # or a command that floods its log would have us do nothing else
LAST_LOOK_SECONDS = 10.0
_log = logging.getLogger(__name__)


class Redaction:
    """Keeps one log without these secrets, by looking at what is new of it again and again."""

    def __init__(self, log: Path, secrets: Sequence[str]) -> None:
        self._log = log
        told = {secret.encode(errors="surrogateescape") for secret in secrets}
        self._secrets = [secret for secret in told if len(secret) >= SHORTEST]
        # The end of what was looked at, as it was written: it may be the beginning of a secret,
        # and be hidden already as all of another.
        self._before = b""
        self._longest = max(map(len, self._secrets), default=1) - 1
        self._seen = 0
        self._told = False

    def close(self) -> None:
        """Hide what is left, the command having ended."""
        self.tick(LAST_LOOK_SECONDS)
        if self._secrets and not self._told and size_of(self._log) > self._seen:
            _log.warning("%s is too long: secrets near its end are not hidden", self._log)

    def tick(self, longest: float = LONGEST_LOOK_SECONDS) -> None:
        """Hide what has come, for so many seconds; the next one goes on where this one ended.

        Costs the run nothing, whatever goes wrong.
        """
        if not self._secrets:
            return
        try:
            if self._log.stat().st_size > self._seen:
                self._look(time.monotonic() + longest)
        except OSError as error:
            if error.errno != errno.ENOENT and not self._told:  # it may come yet
                self._told = True
                _log.warning("secrets in %s are not hidden: %s", self._log, error.strerror)

    def _look(self, until: float) -> None:
        descriptor = os.open(self._log, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            while True:
                start = _next_data(descriptor, self._seen)
                new = os.pread(descriptor, CHUNK, start)
                if not new:
                    return
                before = self._before if start == self._seen else b""
                data, first = before + new, start - len(before)
                for begin, end in merged(spans(data, self._secrets)):
                    if end > len(before):
                        os.pwrite(descriptor, b"*" * (end - begin), first + begin)
                self._before = data[-self._longest :]
                self._seen = start + len(new)
                if time.monotonic() >= until:
                    return
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
