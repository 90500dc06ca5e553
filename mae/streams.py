"""Output that cannot be written costs a training nothing: it goes on, and prints nowhere.

A log on a disk that is full, or a reader of a pipe that is gone, must not end a night.
"""

import errno
import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

GONE = (errno.EPIPE, errno.ECONNRESET)  # whoever read it wants no more


class _Descriptor(FileIO):
    """A descriptor to which no write fails: what it refuses is lost, and `failure` says why."""

    failure: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failure = error
            return memoryview(data).nbytes  # there may be room for the next


def be_patient() -> None:
    """Make standard output and error such that no write to them fails."""
    # Closed by the caller (`>&-`): what is printed goes nowhere, and no file gets its number.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = _patient(sys.stdout, 1), _patient(sys.stderr, 2)


def refuse_lost_output() -> None:
    """Raise OSError if what was printed is lost for another reason than that nobody reads it."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Descriptor):
        sys.stdout.flush()
        if raw.failure and raw.failure.errno not in GONE:
            raise OSError(raw.failure.errno, raw.failure.strerror, "standard output")


def _patient(stream: TextIO | None, number: int) -> TextIO:
    encoding, number = (stream.encoding, stream.fileno()) if stream else ("utf-8", number)
    raw = _Descriptor(number, "w", closefd=False)
    return TextIOWrapper(
        BufferedWriter(raw),
        encoding=encoding,
        errors="backslashreplace",  # a path that the terminal's encoding lacks
        line_buffering=raw.isatty() or number == 2,
    )
