"""Standard output that cannot be written costs a command nothing: it goes on, and prints nowhere.

A line in the crontab must not depend on whether the reader of a pipe (`| head -1`) still reads, or
on a disk that has room for what is printed.
"""

import errno
import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Descriptor(FileIO):
    """A descriptor that becomes /dev/null at the first write that fails; `failure` says why."""

    failure: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failure = error
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return super().write(data)


def patient(stream: TextIO) -> TextIO:
    """`stream`, fresh and of a descriptor, as one whose writes do not fail."""
    raw = _Descriptor(stream.fileno(), "w", closefd=False)
    return TextIOWrapper(
        BufferedWriter(raw),
        encoding=stream.encoding,
        # A path or a word of ours that the terminal's encoding lacks is shown escaped.
        errors="backslashreplace",
        line_buffering=stream.isatty() or stream is sys.stderr,
    )


def is_unread() -> bool:
    """Whether nothing that is printed arrives any more: who only prints may end."""
    return _failure() is not None


def lost_output() -> str | None:
    """Why what was printed is lost; None where it is not, or its reader wanted no more."""
    sys.stdout.flush()
    error = _failure()
    if error is None or error.errno == errno.EPIPE:
        return None
    return f"standard output cannot be written: {error.strerror}"


def _failure() -> OSError | None:
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.failure if isinstance(raw, _Descriptor) else None
