"""The daemon's log: lines on a descriptor, dropped and counted where they would block."""

import os
import select


class Log:
    """Not made non-blocking: the jobs write to the same pipe, and would lose output."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._dropped = 0

    def write(self, line: str) -> None:
        """Write `line`, or drop it; the next that can be written comes behind the count."""
        if not self._has_room():
            self._dropped += 1
            return
        told = f"({self._dropped} lines of log dropped)\n" if self._dropped else ""
        # A pipe that polls writable takes PIPE_BUF bytes without blocking (pipe(7)).
        text = f"{told}{line}".encode(errors="backslashreplace")[: select.PIPE_BUF - 1]
        try:
            os.write(self._descriptor, text + b"\n")
        except OSError:
            self._dropped += 1
        else:
            self._dropped = 0

    def _has_room(self) -> bool:
        try:
            return any(event & select.POLLOUT for _, event in self._poll.poll(0))
        except OSError:
            return False
