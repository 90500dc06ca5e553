"""Looks after a started command until it ends: deadline, signals, grace, what it used."""

import logging
import math
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from maejobs import clock
from maejobs.launch.process import group_members, peak_memory, signal_group
from maejobs.launch.tree import Tree

TICK_SECONDS = 0.5
FIRST_TICK_SECONDS = 0.02  # doubled from tick to tick, so that short commands are looked at as well
COUNTERS_DIFFER_BY = (
    4_000_000  # bytes; the kernel keeps memory counters a CPU and sums them roughly
)
LONGEST_LOOK_SECONDS = 5.0  # between two looks at the memory of a small command
BLOCK = 512  # bytes, in which the kernel counts what goes to and comes from disks
DEADLINE, CANCEL, STALL = "deadline", "cancel", "stall"
CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """How the command ended. `stopped_for`: why we told it to stop, if we did.

    `told_by`: the signal that told us to, if one did.
    """

    exit_code: int | None
    signal: int | None
    cpu_seconds: float
    peak_memory: int | None  # bytes, of the largest single process
    stopped_for: str | None
    bytes_read: int = 0  # from and to disks, as with the processor time of all it waited for
    bytes_written: int = 0
    told_by: int | None = None


class Signals:
    """The signals the supervisor got, counted; `descriptor` becomes readable with each.

    `first` is the number of the first one.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.count = 0
        self.first: int | None = None
        self.passed_on = False  # as TERM, to the command's group
        self._group: int | None = None

    def pass_on_to(self, group: int | None) -> None:
        """Let the first signal reach the process group at once; None: it is for us to look at.

        A database server that says nothing may keep us for seconds.
        """
        self._group = group

    def note(self, number: int, _frame: object) -> None:
        self.count += 1
        self.first = self.first or number
        if self.count == 1 and self._group is not None and not _has_ended(self._group):
            self.passed_on = True
            signal_group(self._group, signal.SIGTERM)

    def drain(self) -> int:
        """How many signals have come in all."""
        try:
            while os.read(self.descriptor, 64):
                pass
        except BlockingIOError:
            pass
        return self.count


def _has_ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end_of(child: int) -> list[int]:
    """A descriptor that is readable from the child's end on, so that nobody waits out a tick.

    None before Linux 5.3, and in a container that may not ask for one.
    """
    try:
        return [os.pidfd_open(child)]
    except OSError:
        return []


@contextmanager
def caught_signals() -> Iterator[Signals]:
    """Turns TERM, INT and HUP into something to look at, so that none kills the supervisor."""
    read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signals = Signals(read_end)
    old_handlers = {number: signal.signal(number, signals.note) for number in CAUGHT}
    old_descriptor = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    try:
        yield signals
    finally:
        signal.set_wakeup_fd(old_descriptor)
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
        os.close(read_end)
        os.close(write_end)


def supervise(
    child: subprocess.Popen[bytes],
    seconds_left: float,
    grace: float,
    signals: Signals,
    on_tick: Callable[[], None],
    stalled: Callable[[], bool] = lambda: False,
    tree: Tree | None = None,
) -> Ending:
    """Wait for the command's end, calling `on_tick` at least twice a second.

    After `seconds_left` (infinite: never), on the first signal, or once it has `stalled`, the group
    gets TERM; after `grace` more seconds, or on the second signal, all get KILL. Whoever is left
    when a stopped command's leader ends, in whatever group or session, is told to stop too, has the
    rest of the grace and is killed as well, so that nobody blocks the next night. `tree` is the
    command's, and closed in the end; without one it is made.
    """
    deadline = clock.steady() + seconds_left
    kill_at = math.inf
    stopped_for: str | None = None
    ended = killed = False
    tick = FIRST_TICK_SECONDS
    memory = _PeakMemory(child.pid)
    exited = _end_of(child.pid)
    tree = tree or Tree(child.pid)
    signals.pass_on_to(child.pid)
    try:
        while True:
            watched = [signals.descriptor] if ended else [signals.descriptor, *exited]
            select.select(watched, [], [], tick)
            ended = ended or _has_ended(child.pid)
            now = time.monotonic()  # by which a host that sleeps takes nobody's grace away
            if stopped_for is None and signals.passed_on:
                stopped_for, kill_at = CANCEL, now + grace
            # The leader is not reaped yet, so the group's number cannot be somebody else's.
            if ended and (stopped_for is None or killed or not _lives(tree)):
                break
            count = signals.drain()  # one that came before the command started counts as well
            if stopped_for is None:
                if count:
                    stopped_for = CANCEL
                elif clock.steady() >= deadline:
                    stopped_for = DEADLINE
                elif stalled():
                    stopped_for = STALL
                if stopped_for:
                    kill_at = now + grace
                    signals.pass_on_to(None)
                    if not signals.passed_on:
                        signal_group(child.pid, signal.SIGTERM)
            elif count >= 2 or now >= kill_at:
                killed = True
                with suppress(OSError):  # the group has had it
                    tree.kill()
            try:
                if ended and not killed:
                    tree.tell_strays()
                tree.reap()
                memory.look()
                on_tick()
            except Exception as error:  # whatever it is, nobody else would see to the deadline
                _log.debug("a look after %d is lost: %s", child.pid, error)
            tick = min(2 * tick, TICK_SECONDS)
    finally:
        signals.pass_on_to(None)
        for descriptor in exited:
            os.close(descriptor)
        tree.close()
    _, status, usage = os.wait4(child.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    child.returncode = code
    return Ending(
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_memory=memory.judge(usage.ru_maxrss * 1024),
        stopped_for=stopped_for,
        bytes_read=usage.ru_inblock * BLOCK,
        bytes_written=usage.ru_oublock * BLOCK,
        told_by=signals.first,
    )


def _lives(tree: Tree) -> bool:
    """Whether anybody of it may: where no file can be opened, nobody can look."""
    try:
        return bool(tree.members())
    except OSError:
        return True


class _PeakMemory:
    """The most memory that one process of a group had.

    The kernel's own figure is exact, but starts from the supervisor's: between fork and exec the
    command is a copy of it. Below that, what /proc showed at the last look is the best there is.
    """

    def __init__(self, group: int) -> None:
        self._group = group
        self._ours = (peak_memory(os.getpid()) or 0) + COUNTERS_DIFFER_BY
        self._seen = peak_memory(group) or 0
        self._began = self._next = time.monotonic()

    def look(self) -> None:
        now = time.monotonic()
        if self._seen < self._ours and now >= self._next:
            # Rarer with time: the kernel keeps each process's own peak for as long as it lives.
            self._next = now + min((now - self._began) / 10, LONGEST_LOOK_SECONDS)
            peaks = [peak_memory(pid) or 0 for pid in group_members(self._group)]
            self._seen = max([self._seen, *peaks])

    def judge(self, kernels: int) -> int | None:
        return kernels if kernels > self._ours else self._seen or None
