"""Reads a log line by line, also one of which the middle was dropped, also while that happens."""

import errno
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import humanize

from maejobs.files import open_plain

CHUNK = 1_000_000  # bytes read at once


class Line(NamedTuple):
    """`text` stands for the log's bytes from `start` to `end`; the last may lack a newline.

    `dropped`: so many of them are gone, and `text` says so.
    """

    start: int
    end: int
    text: bytes
    dropped: int = 0


def read_lines(log: Path, offset: int) -> Iterator[Line]:
    """The lines from byte `offset` on. Raises OSError."""
    with open_plain(log) as file:
        yield from _lines(file.fileno(), offset)


def _lines(descriptor: int, offset: int) -> Iterator[Line]:
    start, rest = offset, b""
    while (found := _seek(descriptor, offset, os.SEEK_DATA)) is not None:
        if found > offset:
            if rest:
                yield Line(start, offset, rest + b"\n")
            yield Line(offset, found, _note(found - offset), dropped=found - offset)
            start, rest, offset = found, b"", found
        data = os.pread(descriptor, CHUNK, offset)
        # Asked afterwards: what is data still was data when it was read, and not a hole's zeros.
        hole = _seek(descriptor, offset, os.SEEK_HOLE)
        data = data[: (hole or offset) - offset]
        offset += len(data)
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield Line(start, start + len(line) + 1, line + b"\n")
            start += len(line) + 1
    if rest:
        yield Line(start, offset, rest)


def start_of_last(log: Path, lines: int) -> int:
    """The offset at which the last `lines` lines begin, of those kept. Raises OSError.

    The log may be of any size. A line that was cut where the middle was dropped counts.
    """
    with open_plain(log) as file:
        size = os.fstat(file.fileno()).st_size
        if lines == 0 or size == 0:
            return size
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
            for begin, end in reversed(list(_kept(file.fileno(), size))):
                position = end - 1 if data[end - 1 : end] == b"\n" else end
                while position >= begin:
                    position = data.rfind(b"\n", begin, position)
                    lines -= 1
                    if lines == 0:
                        return max(position + 1, begin)
    return 0


def _kept(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each part of the first `size` bytes that was not dropped."""
    offset = 0
    while (begin := _seek(descriptor, offset, os.SEEK_DATA)) is not None and begin < size:
        offset = min(_seek(descriptor, begin, os.SEEK_HOLE) or size, size)
        yield begin, offset


def _note(size: int) -> bytes:
    return f"[maejobs: {humanize.naturalsize(size)} dropped here, see log_limit]\n".encode()


def _seek(descriptor: int, offset: int, what: int) -> int | None:
    """Where data or a hole begins, at `offset` or after it; None at the end of the file."""
    try:
        return os.lseek(descriptor, offset, what)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None
