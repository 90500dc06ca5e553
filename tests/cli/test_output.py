"""Tables and times, without a terminal."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from maejobs.cli.output import layout, length, progress, relative, share
from maejobs.cli.text import one_line, shown_line, visible

ROWS = [["one", "1", "a few words"], ["two", "22", "some more words that take a lot of room"]]
HEADERS = ["name", "n", "notes"]


def test_where_there_is_room_a_row_is_a_line():
    lines = layout(HEADERS, ROWS, None)
    assert lines[1:] == [
        "one   1   a few words",
        "two   22  some more words that take a lot of room",
    ]


def test_a_last_cell_too_long_goes_below_its_row():
    assert layout(HEADERS, ROWS, 30)[1:] == [
        "one   1   a few words",
        "two   22",
        "    some more words that take",
        "    a lot of room",
    ]


def test_where_not_even_that_fits_a_row_becomes_a_paragraph():
    (first, *rest) = layout(["name", "first", "second"], [["x", "1" * 28, "2" * 20]], 36)
    assert "x" in first
    assert rest == ["    first", "    " + "1" * 28, "    second " + "2" * 20]


words = st.text(st.characters(categories=["L", "N"], include_characters=" 界"), max_size=40)


@given(st.lists(st.tuples(words, words, words), max_size=5), st.integers(24, 100))
def test_no_word_is_lost_whatever_the_width(rows, width):
    cells = [[one_line(cell) for cell in row] for row in rows]
    text = "".join(layout(HEADERS, cells, width))
    for row in cells:
        for cell in row:
            for character in cell.replace(" ", ""):
                assert character in text


@given(st.lists(st.tuples(words, words), max_size=5))
def test_columns_stand_below_each_other(rows):
    cells = [[one_line(cell) for cell in row] for row in rows]
    start = max([4, *(cell_len(row[0]) for row in cells)]) + 2
    for row, line in zip(cells, layout(["name", "n"], cells, None)[1:], strict=True):
        if row[1]:
            assert cell_len(line.removesuffix(row[1])) == start


def test_the_state_is_coloured_and_a_job_called_like_one_is_not():
    (_, line) = layout(["job", "state"], [["lost", "failed"]], None)
    assert line == "lost  \x1b[31mfailed\x1b[0m"


def test_control_characters_are_shown():
    assert visible("a\x1b[2J\x07\tb\u202e") == "a\\x1b[2J\\x07\tb\\u202e"
    assert one_line(" a\n b\t c ") == "a b c"
    assert shown_line(b"10 %\r20 %\r\n") == "20 %"


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (timedelta(seconds=-5), "5 s ago"),
        (timedelta(seconds=-119), "1 min ago"),
        (timedelta(hours=-23, minutes=-59), "23 h ago"),
        (timedelta(hours=25), "in 1 d"),
        (timedelta(0), "0 s ago"),
    ],
)
def test_distances_are_short(distance, text):
    now = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
    with time_machine.travel(now, tick=False):
        assert relative(now + distance) == text


def test_lengths_and_progress():
    assert [length(s) for s in (None, 0.04, 59.6, 3723)] == ["", "0.0s", "1m 00s", "1h 02m 03s"]
    assert length(-3600) == ""  # the clock was set back
    assert progress(1200, 4000) == "1,200 / 4,000 (30 %)"
    assert [share(1200, 4000), share(1200, None), share(None, 9)] == ["30 % of 4,000", "1,200", ""]
