"""Reasons to stop early: a signal, or a deadline that comes near."""

import math
import os
import signal
import time
from types import FrameType

from mae.errors import BadInput

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Paused(Exception):
    """Work was left off before its end; the message says why."""


def deadline() -> float | None:
    """The deadline in the environment, in Unix seconds. Raises BadInput if it is not one."""
    text = os.environ.get("MAEJOBS_DEADLINE")
    try:
        seconds = float(text) if text else None
    except ValueError:
        seconds = math.nan
    if seconds is not None and not math.isfinite(seconds):
        raise BadInput(f"MAEJOBS_DEADLINE: {text!r} is not a time in Unix seconds")
    return seconds


class Stop:
    """Remembers that a signal came, and knows the deadline (Unix seconds)."""

    def __init__(self, deadline: float | None = None, alone: bool = True) -> None:
        # A clock that is set right in the night moves no deadline.
        self._ends = None if deadline is None else _steady() + deadline - time.time()
        self._alone = alone
        self._signal: str | None = None

    @classmethod
    def listen(cls, alone: bool = True) -> "Stop":
        """Start to catch TERM and INT; the deadline is the one in MAEJOBS_DEADLINE, if any.

        A second signal does what it would have done without us, unless there are other processes
        in the run: what started them passes on a signal that they have all had already.
        """
        stop = cls(deadline(), alone)
        for number in SIGNALS:
            signal.signal(number, stop._remember)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # see mae.train.processes
        return stop

    def reason(self, margin: float = 0.0) -> str | None:
        """Why to stop now, if so; `margin` seconds are still needed before the deadline."""
        if self._signal:
            return self._signal
        if self._ends is not None and _steady() + margin >= self._ends:
            return "deadline"
        return None

    def ignore(self) -> None:
        """From now on there is nothing left to stop: a signal must not spoil a good exit code.

        Python gives signals their default action back while it exits, unless they are ignored.
        """
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)

    def check(self, margin: float = 0.0) -> None:
        """Raise Paused if there is a reason to stop."""
        if reason := self.reason(margin):
            raise Paused(reason)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self._signal = signal.Signals(number).name
        if self._alone:
            for each in SIGNALS:
                signal.signal(each, signal.SIG_DFL)


def _steady() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the host sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
