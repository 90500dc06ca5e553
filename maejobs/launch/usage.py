"""What processes take of the host, summed, as /proc tells it."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")  # bytes


class Usage(NamedTuple):
    """Memory that is held now, in bytes, and what has been used up since each process began.

    What a process has waited for, its ended children, is counted with it. `bytes_` are those that
    went to or came from a disk.
    """

    cpu_seconds: float
    memory: int
    bytes_read: int
    bytes_written: int


def usage_of(pids: Iterable[int], proc: Path = Path("/proc")) -> Usage:
    """The sum over these processes; those that end meanwhile are left out.

    Files that several have mapped, such as libraries, count once, as in the one that holds most.
    """
    cpu_seconds, own, shared, read, written = 0.0, 0, 0, 0, 0
    for pid in pids:
        with suppress(OSError, ValueError, IndexError):
            cpu_seconds += _cpu_seconds((proc / str(pid) / "stat").read_text(errors="replace"))
            pages = [int(word) for word in (proc / str(pid) / "statm").read_text().split()]
            own += (pages[1] - pages[2]) * PAGE
            shared = max(shared, pages[2] * PAGE)
        with suppress(OSError, ValueError, KeyError):  # another user's is hidden
            lines = (proc / str(pid) / "io").read_text().splitlines()
            told = {name: int(value) for name, value in (line.split(": ") for line in lines)}
            read += told["read_bytes"]
            written += told["write_bytes"]
    return Usage(cpu_seconds, own + shared, read, written)


def _cpu_seconds(stat: str) -> float:
    """Of /proc/PID/stat: its own and its buried children's. Raises ValueError, IndexError."""
    # The name, in parentheses, may hold anything.
    ticks = stat.rpartition(")")[2].split()[11:15]
    return sum(map(int, ticks)) / TICKS_A_SECOND
