"""Looks after a started command until it ends: deadline, signals, grace, what it used."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from maejobs.launch.process import group_members, signal_group

TICK_SECONDS = 0.5
DEADLINE, CANCEL = "deadline", "cancel"
CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Ending:
    """How the command ended. `stopped_for`: why we told it to stop, if we did."""

    exit_code: int | None
    signal: int | None
    cpu_seconds: float
    peak_memory: int  # bytes, of the largest single process
    stopped_for: str | None


class Signals:
    """The signals the supervisor got, counted; `descriptor` becomes readable with each."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.count = 0

    def drain(self) -> int:
        """How many signals have come in all."""
        try:
            while os.read(self.descriptor, 64):
                pass
        except BlockingIOError:
            pass
        return self.count


@contextmanager
def caught_signals() -> Iterator[Signals]:
    """Turns TERM, INT and HUP into something to look at, so that none kills the supervisor."""
    read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signals = Signals(read_end)

    def note(_number: int, _frame: object) -> None:
        signals.count += 1

    old_handlers = {number: signal.signal(number, note) for number in CAUGHT}
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
    seconds_left: float | None,
    grace: float,
    signals: Signals,
    on_tick: Callable[[], None],
) -> Ending:
    """Wait for the command's end, calling `on_tick` at least twice a second.

    After `seconds_left`, or on the first signal, the group gets TERM; after `grace` more seconds,
    or on the second signal, KILL. Whoever is left in the group when a stopped command's leader
    ends is killed as well, so that nobody blocks the next night.
    """
    deadline = None if seconds_left is None else time.monotonic() + seconds_left
    kill_at: float | None = None
    stopped_for: str | None = None
    exited = os.pidfd_open(child.pid)
    seen_signals = 0  # one that came before the command started counts as well
    try:
        while True:
            ready, _, _ = select.select([exited, signals.descriptor], [], [], TICK_SECONDS)
            if exited in ready:
                break
            now = time.monotonic()
            count = signals.drain()
            if stopped_for is None and (
                count > seen_signals or (deadline is not None and now >= deadline)
            ):
                stopped_for = CANCEL if count > seen_signals else DEADLINE
                kill_at = now + grace
                seen_signals = count
                signal_group(child.pid, signal.SIGTERM)
            elif kill_at is not None and (now >= kill_at or count > seen_signals):
                signal_group(child.pid, signal.SIGKILL)
            on_tick()
        if stopped_for is not None:
            _clear_group(child.pid, kill_at or 0.0)
    finally:
        os.close(exited)
    _, status, usage = os.wait4(child.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    child.returncode = code
    return Ending(
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_memory=usage.ru_maxrss * 1024,
        stopped_for=stopped_for,
    )


def _clear_group(group: int, kill_at: float) -> None:
    """Let the group's other members end by `kill_at`, then kill them.

    The leader is not reaped yet, so that the group's number cannot be somebody else's.
    """
    while group_members(group) and time.monotonic() < kill_at:
        time.sleep(TICK_SECONDS / 5)
    if group_members(group):
        signal_group(group, signal.SIGKILL)
