"""Waiting in line, first come, first served: each who waits has a ticket, a numbered file.

Whoever holds a ticket has it flocked, so that the kernel gives up a dead one's place at once.
"""

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from maejobs.files import FILE_MODE, make_private_directory

TICKET = re.compile(r"[0-9]{12}")
LONGEST_NAME = 300  # bytes


class Line:
    """The line in the directory `path`, seen by `name`, who stands in it from `join` to `leave`.

    Without a line on the disk (full, read-only) everybody is first: who waits is then served in no
    order, but is served.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._number: int | None = None
        self._descriptor = -1

    def ahead(self) -> str | None:
        """The name of who is first; None: nobody is before us."""
        numbers = self._numbers()
        for number in numbers:
            if self._number is not None and number >= self._number:
                return None
            if name := self._holder(number, is_newest=number == numbers[-1]):
                return name
        return None

    def join(self) -> None:
        """Go to the end of the line; who is in it keeps their place."""
        if self._number is not None:
            return
        with suppress(OSError):
            make_private_directory(self._path)
            number = max(self._numbers(), default=0) + 1
            while not self._take(number):
                number += 1

    def leave(self) -> None:
        """Let those behind us move up."""
        if self._number is None:
            return
        # The newest stays until there is a newer one: numbers are given out once.
        with suppress(OSError):
            if self._number < max(self._numbers(), default=0):
                self._ticket(self._number).unlink(missing_ok=True)
        os.close(self._descriptor)
        self._number = None

    def __enter__(self) -> "Line":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    def _take(self, number: int) -> bool:
        """Make the ticket ours; False if somebody else has it. Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(self._ticket(number), flags, FILE_MODE)
        except FileExistsError:
            return False
        with suppress(OSError):  # on a full disk it has no name, but is a ticket
            os.write(descriptor, self._name.encode()[:LONGEST_NAME])
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = os.fstat(descriptor).st_nlink > 0
        except BlockingIOError:
            taken = False
        except OSError:
            os.close(descriptor)
            raise
        if not taken:  # somebody saw it before it was locked, and took it for a dead one's
            os.close(descriptor)
            return False
        self._number, self._descriptor = number, descriptor
        return True

    def _holder(self, number: int, is_newest: bool) -> str | None:
        """Who holds the ticket; None, and it goes, where that one is dead or has left."""
        ticket = self._ticket(number)
        try:
            descriptor = os.open(ticket, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            # Shared, so that two who look at once do not take each other for its holder.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if not is_newest:
                ticket.unlink(missing_ok=True)
        except BlockingIOError:
            return os.read(descriptor, LONGEST_NAME).decode(errors="replace") or "another run"
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return None

    def _numbers(self) -> list[int]:
        try:
            names = [path.name for path in self._path.iterdir()]
        except OSError:
            return []
        return sorted(int(name) for name in names if TICKET.fullmatch(name))

    def _ticket(self, number: int) -> Path:
        return self._path / f"{number:012d}"
