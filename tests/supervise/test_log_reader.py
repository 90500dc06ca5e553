"""A log line by line, whole or without its middle."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.supervise.log_limit import punch_hole
from maejobs.supervise.log_reader import CHUNK, Line, read_lines, start_of_last

BLOCK = 4096
CONTENTS = st.lists(st.sampled_from([b"\n", b"a" * 700, b"b" * 5000, b"c\n", b"d" * 4095 + b"\n"]))


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("reader") / "log"


def fill(log: Path, content: bytes, begin: int = 0, end: int = 0) -> None:
    """`content`, of which the blocks from `begin` to `end` are dropped, but its last."""
    log.unlink(missing_ok=True)
    log.write_bytes(content)
    last = (len(content) - 1) // BLOCK
    if begin < min(end, last):
        punch_hole(log, begin * BLOCK, min(end, last) * BLOCK)


@given(CONTENTS, st.integers(0, 3), st.integers(0, 6))
def test_what_is_kept_is_read_byte_for_byte_with_a_note_for_what_is_not(log, parts, begin, end):
    content = b"".join(parts)
    fill(log, content, begin, end)

    lines = list(read_lines(log, 0))

    assert all(one.end == other.start for one, other in pairwise(lines))
    for line in lines:
        if line.dropped:
            assert line.dropped == line.end - line.start
            assert line.text.startswith(b"[maejobs: ")
        else:
            assert line.text.rstrip(b"\n") == content[line.start : line.end].rstrip(b"\n")
            assert b"\n" not in line.text[:-1]
    assert sum(line.end - line.start for line in lines) == len(content)
    assert all(line.text.endswith(b"\n") for line in lines[:-1])


@given(CONTENTS, st.integers(0, 3), st.integers(0, 6), st.integers(1, 9))
def test_the_last_lines_are_the_last_of_those_kept(log, parts, begin, end, count):
    fill(log, b"".join(parts), begin, end)
    kept = [line for line in read_lines(log, 0) if not line.dropped]

    start = start_of_last(log, count)

    last = [line for line in read_lines(log, start) if not line.dropped]
    assert last == kept[-count:]


def test_none_of_the_last_lines_is_the_end(log):
    fill(log, b"one\ntwo")

    assert start_of_last(log, 0) == 7


def test_a_line_longer_than_what_is_read_at_once_is_one_line(log):
    fill(log, b"x" * (2 * CHUNK + 7) + b"\ny")

    first, last = read_lines(log, 0)

    assert len(first.text) == 2 * CHUNK + 8
    assert last == Line(2 * CHUNK + 8, 2 * CHUNK + 9, b"y")


def test_what_comes_later_is_read_from_where_the_last_reading_ended(log):
    fill(log, b"one\ntwo\n")
    *_, last = read_lines(log, 0)
    with log.open("ab") as file:
        file.write(b"three\n")

    assert [line.text for line in read_lines(log, last.end)] == [b"three\n"]
    assert list(read_lines(log, 14)) == []
