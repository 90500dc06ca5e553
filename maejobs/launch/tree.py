"""All processes of a run's command, wherever they went: other groups, sessions, other parents."""

import ctypes
import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from maejobs.launch.cgroup import make_cgroup
from maejobs.launch.process import signal_group
from maejobs.launch.usage import Usage, usage_of

KILLING_SECONDS = 2.0  # one that sleeps in the kernel may take longer, and is not waited for
_PAUSE_SECONDS = 0.01
_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


class Process(NamedTuple):
    """One line of /proc/PID/stat: `started` in the kernel's ticks since the boot."""

    parent: int
    group: int
    session: int
    started: int
    dead: bool


def adopt_orphans(yes: bool = True) -> None:
    """Become the parent of what our descendants leave behind, instead of the host's first process.

    So none of them can leave our tree, whatever it does.
    """
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)


class Tree:
    """The processes of the command that `leader` is, a child of ours whose orphans we adopt.

    `mark` is what tells it from other commands of ours, as `NAME=value` in its environment: what
    an earlier attempt left in the background is none of this one's.
    """

    def __init__(self, leader: int, mark: str | None = None) -> None:
        self._leader = leader
        self._mark = mark
        self._name = mark.partition("=")[0] + "=" if mark else ""
        self._told: set[int] = set()
        found = read_process(leader)
        self._born = found.started if found else 0
        self._cgroup = make_cgroup()
        if self._cgroup:
            # What it has started in the meantime is with it.
            for pid in {leader, *self._nearby()}:
                with suppress(OSError):
                    self._cgroup.add(pid)

    def members(self) -> set[int]:
        """Those that live."""
        processes = read_processes()
        roots = {
            pid
            for pid, process in processes.items()
            if process.parent == os.getpid() and self._is_ours(pid, process)
        }
        found = with_descendants(roots, processes)
        if self._cgroup:
            found.update(self._cgroup.members())
        return {pid for pid in found if pid in processes and not processes[pid].dead}

    def usage(self) -> Usage:
        """What they take now, and have taken."""
        usage = usage_of(self.members())
        seconds = self._cgroup.cpu_seconds() if self._cgroup else None
        return usage if seconds is None else usage._replace(cpu_seconds=seconds)

    def tell_strays(self) -> None:
        """TERM, once, to each that has left the leader's group and so has not heard of it."""
        for pid in self.members() - self._told:
            self._told.add(pid)
            with suppress(OSError):
                if os.getpgid(pid) != self._leader:
                    os.kill(pid, signal.SIGTERM)
                    os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """KILL to all, again and again until none lives, since they may start others meanwhile.

        A look takes its time, and misses who was born during it of one that was gone before its
        turn came: nobody is left only where nobody has died since the look before, either.
        """
        give_up = time.monotonic() + KILLING_SECONDS
        while True:
            if self._cgroup:
                self._cgroup.kill()
            signal_group(self._leader, signal.SIGKILL)
            for pid in (left := self._nearby() or self.members()):
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            if (not self.reap() and not left) or time.monotonic() > give_up:
                return
            time.sleep(_PAUSE_SECONDS)

    def reap(self) -> int:
        """Bury the orphans that have ended, as the host's first process would have done.

        Returns how many there were.
        """
        buried = 0
        for pid in _children() or _dead_children():
            process = read_process(pid)
            if process and process.dead and pid != self._leader and self._may_be_ours(process):
                os.waitpid(pid, os.WNOHANG)
                buried += 1
        return buried

    def close(self) -> None:
        """What still lives is left to itself."""
        if self._cgroup:
            self._cgroup.dissolve()
        adopt_orphans(False)

    def _nearby(self) -> set[int]:
        """Those that live, from child to child: quicker than to look at the whole host.

        The kernel may leave out some while others end, and may have been built without such lists.
        """
        found: set[int] = set()
        left = [
            pid
            for pid in _children()
            if (process := read_process(pid)) and not process.dead and self._is_ours(pid, process)
        ]
        while left:
            if (pid := left.pop()) not in found:
                found.add(pid)
                left += _children(pid)
        return found

    def _is_ours(self, pid: int, process: Process) -> bool:
        """Whether a child of this process is the command, or was left behind by it."""
        if not self._may_be_ours(process):
            return False
        return not self._mark or not _says_otherwise(pid, self._name, self._mark)

    def _may_be_ours(self, process: Process) -> bool:
        """No: it is older, or in our own session, which nobody can enter who has left it."""
        return process.started >= self._born and process.session != os.getsid(0)


def _children(pid: int | None = None) -> list[int]:
    """The children of a process, or of this one, whichever thread has them."""
    threads = Path("/proc", str(pid or "self"), "task")
    found: list[int] = []
    with suppress(OSError):
        for thread in threads.iterdir():
            with suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found


def _dead_children() -> list[int]:
    """Those of this process, where the kernel has no lists; a look at all, if any has ended."""
    try:
        if not os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return []
    except ChildProcessError:
        return []
    return [pid for pid, one in read_processes().items() if one.dead and one.parent == os.getpid()]


def with_descendants(roots: Iterable[int], processes: Mapping[int, Process]) -> set[int]:
    """`roots` with their children, and theirs."""
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    found: set[int] = set()
    left = list(roots)
    while left:
        if (pid := left.pop()) not in found:
            found.add(pid)
            left += children.get(pid, [])
    return found


def read_processes() -> dict[int, Process]:
    """Every process of the host, by its id."""
    found = {pid: read_process(pid) for pid in psutil.pids()}
    return {pid: process for pid, process in found.items() if process}


def read_process(pid: int) -> Process | None:
    """The process as /proc shows it now; None where it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name, in parentheses, may hold anything.
    state, *numbers = text.rpartition(")")[2].split()
    parent, group, session = map(int, numbers[:3])
    return Process(parent, group, session, int(numbers[18]), state in "ZX")


def somebody_has(mark: str) -> bool:
    """Whether any process of the host has `mark`, as `NAME=value`, in its environment."""
    return any(mark.encode() in _environment(pid) for pid in psutil.pids())


def _says_otherwise(pid: int, name: str, mark: str) -> bool:
    """Whether the process's environment has the variable `name`, and not as in `mark`."""
    found = [variable for variable in _environment(pid) if variable.startswith(name.encode())]
    return bool(found) and found[0] != mark.encode()


def _environment(pid: int) -> list[bytes]:
    """The variables with which the process was started; none where it is not ours to see."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
