"""Gathers what tells why a command ended badly: little, in bounds, and never an error."""

import os
import shutil
from pathlib import Path

from maejobs.files import open_plain
from maejobs.rundb.directory import LOG_NAME
from maejobs.supervise.child import Ending
from maejobs.supervise.failure import Evidence

TAIL_BYTES = 64_000
KERNEL_LOG = Path("/dev/kmsg")
MOST_RECORDS = 100_000  # of the kernel's log; it holds fewer
LONGEST_RECORD = 8192
DRIVER = b"NVRM"  # of what the kernel says, only NVIDIA's driver matters here


class Witness:
    """Looks at the host before a command starts, to know afterwards what went on meanwhile."""

    def __init__(self, kernel_log: Path = KERNEL_LOG) -> None:
        self._oom_kills = oom_kills()
        self._kernel_log = _open_at_end(kernel_log)

    def evidence(self, ending: Ending, directory: Path, outcome: str | None) -> Evidence:
        """What there is on the command's end. `directory` is the run's."""
        now = oom_kills()
        known = now is not None and self._oom_kills is not None
        return Evidence(
            ending=ending,
            tail=tail_of(directory / LOG_NAME),
            outcome=outcome,
            oom_kills=(now or 0) - (self._oom_kills or 0) if known else 0,
            kernel_log=self._kernel_said(),
            disk_free=_free(directory),
        )

    def close(self) -> None:
        if self._kernel_log is not None:
            os.close(self._kernel_log)

    def _kernel_said(self) -> bytes:
        said = b""
        if self._kernel_log is None:
            return said
        for _ in range(MOST_RECORDS):
            try:
                record = os.read(self._kernel_log, LONGEST_RECORD)
            except BrokenPipeError:
                continue  # older ones have been overwritten; it goes on with the oldest there is
            except OSError:
                break
            if not record:
                break
            if DRIVER in record:
                said = (said + record)[-TAIL_BYTES:]
        return said


def tail_of(path: Path, size: int = TAIL_BYTES) -> bytes:
    """The last `size` bytes of the file; none where there is no file."""
    try:
        with open_plain(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read(size)
    except OSError:
        return b""


def oom_kills(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """How many processes the kernel has killed for want of memory; None where it does not say.

    Those of our own cgroup (version 2), where it counts them; else of the whole host.
    """
    counters = [proc / "vmstat"]
    try:
        for line in (proc / "self" / "cgroup").read_text().splitlines():
            if line.startswith("0::/"):
                counters.insert(0, cgroups / line[4:] / "memory.events")
    except (OSError, ValueError):
        pass
    for counter in counters:
        try:
            words = (line.split() for line in counter.read_text().splitlines())
            return next(int(value) for name, value in words if name == "oom_kill")
        except (OSError, ValueError, StopIteration):
            continue
    return None


def _open_at_end(kernel_log: Path) -> int | None:
    try:
        descriptor = os.open(kernel_log, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:  # most accounts may not
        return None
    try:
        os.lseek(descriptor, 0, os.SEEK_END)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _free(directory: Path) -> int | None:
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None
