"""Whether a command still gives signs of life: bytes in its event stream, else in its log."""

import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from maejobs.files import size_of

# A look that comes later than this says that we were held up ourselves, and maybe the command
# with us (a stopped container, a virtual machine on hold): that is no silence of the command's.
LONGEST_LOOK_SECONDS = 10.0
PROBE_BYTES = 4096
_log = logging.getLogger(__name__)


@dataclass
class Silence:
    """For how long nothing new has come, by looks at the sizes of the stream and of the log.

    As soon as there is a stream, only its bytes count: a command that tells how it gets on and
    then prints the same warning over and over has stalled. Times are seconds of a clock that
    never jumps.
    """

    looked: float
    seconds: float = 0.0
    _seen: tuple[int, int] = field(init=False, default=(0, 0))

    def look(self, now: float, events: int, log: int) -> float:
        """Note the sizes, in bytes; for how many seconds there has been silence."""
        seen = (events, 0) if events else (0, log)
        if seen != self._seen:
            self._seen, self.seconds = seen, 0.0
        else:
            self.seconds += min(now - self.looked, LONGEST_LOOK_SECONDS)
        self.looked = now
        return self.seconds


class Watchdog:
    """Asked again and again: has the command been silent for `patience` seconds?

    Not where the run's directory takes no bytes, on a full disk, say: who cannot write a sign of
    life may be well.
    """

    def __init__(self, events: Path, log: Path, patience: float) -> None:
        self._events = events
        self._log = log
        self._patience = patience
        self._silence = Silence(time.monotonic())

    def stalled(self) -> bool:
        """Whether the command is to be stopped now."""
        silent = self._silence.look(time.monotonic(), size_of(self._events), size_of(self._log))
        if silent < self._patience:
            return False
        if _takes_bytes(self._events.parent):
            return True
        _log.warning("%s cannot be written, so silence says nothing", self._events.parent)
        self._silence.seconds = 0.0
        return False


def _takes_bytes(directory: Path) -> bool:
    probe = directory / f".probe.{os.getpid()}"
    try:
        probe.write_bytes(bytes(PROBE_BYTES))
    except OSError:
        return False
    finally:
        with suppress(OSError):
            probe.unlink()
    return True
