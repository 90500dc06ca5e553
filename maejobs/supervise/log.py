"""A run's log: the command's bytes in one file, when they came in another, which stays small."""

import os
import time
from bisect import bisect_right
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from maejobs import clock
from maejobs.files import FILE_MODE, open_plain, write_atomically

TIMES_NAME = "log.times"
LARGEST = 1_000_000  # bytes of it: some six hours of a command that never pauses


class LogClock:
    """Notes when a growing log grew, as lines of `byte offset` and `Unix seconds`."""

    def __init__(self, log: Path, times: Path) -> None:
        self._log = log
        self._seen = 0
        self._path = times
        self._size = 0
        self._times: int | None = None
        with suppress(OSError):
            self._times = _open(times)

    def tick(self) -> None:
        """Note the present size if it has grown. A full disk costs the note, not the run."""
        if self._times is None:
            return
        try:
            size = self._log.stat().st_size
            if size > self._seen:
                moment = time.time() + clock.shift().total_seconds()
                self._size += os.write(self._times, _line(self._seen, moment))
                self._seen = size
            if self._size > LARGEST:
                self._size = LARGEST // 2  # also where a full disk forbids it: not at each tick
                self._times = self._thin(self._times)
        except OSError:
            return

    def close(self) -> None:
        self.tick()
        if self._times is not None:
            os.close(self._times)

    def _thin(self, times: int) -> int:
        """Replace the file by one half as large at the most; what is to be written to now."""
        pairs = read_times(self._path)
        lines = [_line(at, moment.timestamp()) for at, moment in thinned(pairs, len(pairs) // 2)]
        write_atomically(self._path, b"".join(lines))
        thinner = _open(self._path)
        os.close(times)
        return thinner


def thinned(pairs: list[tuple[int, datetime]], most: int) -> list[tuple[int, datetime]]:
    """At most so many of them, those left out that followed most closely on another. Pure.

    What came after a pause keeps its time; in output without pauses times become coarser. The first
    one stays.
    """
    apart = timedelta(seconds=1)
    while len(pairs) > max(most, 1):
        kept = pairs[:1]
        for pair in pairs[1:]:
            if abs(pair[1] - kept[-1][1]) >= apart:
                kept.append(pair)
        pairs, apart = kept, 2 * apart
    return pairs


def _open(times: Path) -> int:
    # The command has been started, and may have put a pipe here, which would be waited for.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(times, flags, FILE_MODE)


def _line(offset: int, moment: float) -> bytes:
    return f"{offset} {moment:.3f}\n".encode()


def read_times(times: Path) -> list[tuple[int, datetime]]:
    """(byte offset, instant) pairs in order; lines that are broken are left out."""
    pairs = []
    try:
        with open_plain(times) as file:
            lines = file.read().decode(errors="replace").splitlines()
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
