import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cron.strategies import lines as some_lines
from maejobs.cron.block import (
    BrokenBlock,
    Entry,
    read_entries,
    render_block,
    replace_entries,
)
from maejobs.cron.repair import lay_out, repair

PRETRAIN = Entry("pretrain", "0 2 * * *", "/opt/bin/maejobs exec pretrain")
ROTATE = Entry("rotate", "@daily", "/opt/bin/maejobs exec rotate --home '/a b'")
BEGINNING, LINE, ROTATE_LINE, ENDING = render_block([PRETRAIN, ROTATE]).splitlines(keepends=True)
WHOLE = render_block([PRETRAIN])
MINE = b"0 5 * * 1 tar\n"


@pytest.mark.parametrize("table", [b"", MINE, WHOLE, MINE + WHOLE + MINE, MINE[:-1]])
def test_what_is_whole_is_left_as_it_is(table):
    assert repair(table) is table


@pytest.mark.parametrize(
    ("table", "repaired"),
    [
        (MINE + BEGINNING + LINE + MINE, MINE + WHOLE + MINE),  # no end
        (MINE + LINE + ENDING + MINE, MINE + WHOLE + MINE),  # no beginning
        (WHOLE + MINE + BEGINNING + ROTATE_LINE + ENDING, render_block([PRETRAIN, ROTATE]) + MINE),
        (BEGINNING + LINE + ENDING + ENDING, WHOLE),
        (ENDING + LINE + BEGINNING, WHOLE),
        (WHOLE.replace(b"\n", b"\r\n"), WHOLE),
        (b"  " + WHOLE, WHOLE),
        (b"# >>> maejobs: my jobs\n" + LINE + ENDING, b"# >>> maejobs: my jobs\n" + WHOLE),
        (BEGINNING + b"# mine\n" + LINE + b"\n" + MINE + ENDING, WHOLE + b"# mine\n\n" + MINE),
        (BEGINNING + b"#" + LINE + ENDING, b"#" + LINE),
        (MINE + BEGINNING, MINE),
        (MINE + BEGINNING[:-1], MINE),
        (BEGINNING + LINE + MINE[:-1], WHOLE + MINE[:-1]),
    ],
)
def test_a_damaged_block_becomes_one_whole_one(table, repaired):
    with pytest.raises(BrokenBlock):
        read_entries(table)
    assert repair(table) == repaired


def test_a_line_that_is_tagged_but_calls_something_else_is_somebodys_own():
    own = b"0 4 * * * /bin/my-wrapper # maejobs:pretrain\n"
    assert repair(BEGINNING + LINE + own) == WHOLE + own


def test_a_line_of_a_hundred_thousand_blanks_is_read_at_once():
    table = b"0 2 * * * " + b" " * 100_000 + b"x\n"  # 100 s where each blank is tried with each
    started = time.monotonic()
    assert lay_out(table).head == table
    assert time.monotonic() - started < 5


def test_the_newline_that_was_added_is_remembered():
    table = replace_entries(MINE[:-1], [PRETRAIN]).replace(ENDING, b"")
    assert replace_entries(repair(table), []) == MINE[:-1]


def test_every_trouble_is_told_with_its_line():
    table = WHOLE + BEGINNING + MINE + b"\t" + ENDING
    assert [(t.line, t.reason.split(";")[0]) for t in lay_out(table).troubles] == [
        (4, "a second maejobs block"),
        (5, "this line inside the maejobs block is not one of ours"),
        (6, "this marker of maejobs was changed by hand"),
    ]


damaged = st.lists(
    st.one_of(
        some_lines.map(lambda line: line + b"\n"),
        st.sampled_from(
            [
                BEGINNING, ENDING, LINE, ROTATE_LINE, b"  " + LINE, b"#" + LINE,
                ENDING.replace(b"\n", b"\r\n"), b"# >>> maejobs\n", b"# >>> maejobs +newline >>>\n",
                b"# <<< maejobs here\n",
                b"0 4 * * * /bin/mine # maejobs:rotate\n", BEGINNING + LINE + ENDING,
            ]
        ),
    ),
    max_size=9,
).map(b"".join)  # fmt: skip
tables = st.one_of(damaged, damaged.map(lambda table: table[:-1]))


def foreign(table: bytes) -> list[bytes]:
    """What is neither a marker nor a line of ours: said anew here, by the plain words."""
    kept = []
    lines = table.split(b"\n")
    for line in lines if lines[-1] else lines[:-1]:
        text = line.strip()
        calls = b"maejobs exec pretrain" in text or b"maejobs exec rotate" in text
        tagged = text.endswith((b"# maejobs:pretrain", b"# maejobs:rotate"))
        ours = calls and tagged and not text.startswith(b"#")
        opens = text.startswith(b"# >>> maejobs") and text.endswith(b" >>>")
        if not (ours or opens or text == b"# <<< maejobs <<<"):
            kept.append(line)
    return kept


def is_whole(table: bytes) -> bool:
    try:
        read_entries(table)
    except BrokenBlock:
        return False
    return True


@example(b"\n# >>> maejobs +newline >>>\n")
@example(b"x\n\n# >>> maejobs +newline >>>\n")
@given(tables)
def test_foreign_lines_stay_byte_for_byte_and_in_order(table):
    if not is_whole(table):
        assert foreign(repair(table)) == foreign(table)


@given(tables)
def test_what_was_repaired_is_whole_and_stays(table):
    once = repair(table)
    assert is_whole(once)
    assert repair(once) == once


@given(tables)
def test_there_is_trouble_just_where_the_block_cannot_be_read(table):
    assert bool(lay_out(table).troubles) != is_whole(table)
