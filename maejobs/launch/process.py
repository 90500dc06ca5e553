"""Who a process is: a pid alone may be somebody else's by tomorrow, pid and start time may not.

A start time is counted from the boot, as the kernel does: the date of it would move with the host's
clock, and a run that lives would no longer be known.
"""

import os
import signal
import socket
from datetime import UTC, datetime
from pathlib import Path

import psutil

from maejobs import clock

START_TOLERANCE_SECONDS = 0.005  # less than one of the kernel's ticks


def host_name() -> str:
    return socket.gethostname()


def boot_id() -> str | None:
    """The kernel's name for this boot; None where there is no /proc."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def booted() -> datetime | None:
    """When the host started, on maejobs's clock; None where there is no telling."""
    try:
        return datetime.fromtimestamp(psutil.boot_time(), UTC) + clock.shift()
    except (OSError, RuntimeError, psutil.Error):
        return None


def start_time(pid: int) -> float | None:
    """When the process started, in seconds since the boot; None where it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name, in parentheses, may hold anything.
    state, *numbers = text.rpartition(")")[2].split()
    return None if state in "ZX" else int(numbers[18]) / os.sysconf("SC_CLK_TCK")


def is_alive(pid: int | None, started: float | None) -> bool:
    """Whether the very process that had this pid and start time, on this boot, still runs."""
    if pid is None or started is None:
        return False
    found = start_time(pid)
    return found is not None and abs(found - started) < START_TOLERANCE_SECONDS


def group_members(group: int) -> list[int]:
    """The living processes of a process group, zombies left out."""
    members = []
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                members.append(pid)
        except (OSError, psutil.Error):
            continue
    return members


def peak_memory(pid: int) -> int | None:
    """The most memory the process has had at once, in bytes; None where /proc does not say."""
    try:
        # A process's name may be any bytes, and is cut after 15 of them: also amid a letter.
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
        for line in text.splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to every process of the group; a group that is gone is fine.

    Who was held (`kill -STOP`) and is told to stop goes on, or would not hear of it.
    """
    try:
        os.killpg(group, number)
        if number == signal.SIGTERM:
            os.killpg(group, signal.SIGCONT)
    except (ProcessLookupError, PermissionError):
        return
