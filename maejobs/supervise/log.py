"""A run's log: the command's bytes in one file, when they came in another."""

import os
import time
from bisect import bisect_right
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from maejobs import clock
from maejobs.files import FILE_MODE

TIMES_NAME = "log.times"


class LogClock:
    """Notes when a growing log grew, as lines of `byte offset` and `Unix seconds`."""

    def __init__(self, log: Path, times: Path) -> None:
        self._log = log
        self._seen = 0
        self._times: int | None = None
        with suppress(OSError):
            self._times = os.open(times, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)

    def tick(self) -> None:
        """Note the present size if it has grown. A full disk costs the note, not the run."""
        if self._times is None:
            return
        try:
            size = self._log.stat().st_size
            if size > self._seen:
                moment = time.time() + clock.shift().total_seconds()
                os.write(self._times, f"{self._seen} {moment:.3f}\n".encode())
                self._seen = size
        except OSError:
            return

    def close(self) -> None:
        self.tick()
        if self._times is not None:
            os.close(self._times)


def read_times(times: Path) -> list[tuple[int, datetime]]:
    """(byte offset, instant) pairs in order; lines that are broken are left out."""
    pairs = []
    try:
        lines = times.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            offset, moment = line.split()
            pairs.append((int(offset), datetime.fromtimestamp(float(moment), UTC)))
        except (ValueError, OverflowError):
            continue
    return pairs


def time_at(pairs: list[tuple[int, datetime]], offset: int) -> datetime | None:
    """When the byte at `offset` came, by `read_times`' pairs."""
    index = bisect_right(pairs, offset, key=lambda pair: pair[0]) - 1
    return pairs[index][1] if index >= 0 else None
