import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cron.strategies import tables
from maejobs.cron.block import (
    BrokenBlock,
    Entry,
    exec_command,
    read_entries,
    render_block,
    replace_entries,
)
from maejobs.errors import UserError

PRETRAIN = Entry("pretrain", "0 2 * * *", "/opt/bin/maejobs exec pretrain")
ROTATE = Entry("rotate", "@daily", "/opt/bin/maejobs exec rotate --home '/a b'")
BEGIN, LINE, ENDING = render_block([PRETRAIN]).splitlines(keepends=True)

words = st.text(alphabet="ab/%\\'\" #é$-", min_size=1, max_size=12).map(str.strip).filter(bool)
entries = st.lists(
    st.builds(
        Entry,
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,9}", fullmatch=True),
        st.sampled_from(["0 2 * * *", "@daily", "*/5 1-3 * jan mon-fri"]),
        words,
    ),
    min_size=1,
    max_size=4,
)


def test_a_table_without_a_block_has_no_entries():
    assert read_entries(b"0 5 * * 1 tar\n") == []


@pytest.mark.parametrize(
    "table",
    [b"", b"a", b"a\n", b"a\n\n", b"\n", b"a\r\n", b"a\r", b"\xe4 = \xf6", b"#c\n0 5 * * 1 x\\%\n"],
)
def test_schedule_then_unschedule_gives_back_the_bytes(table):
    scheduled = replace_entries(table, [PRETRAIN, ROTATE])
    assert scheduled.startswith(table)
    assert scheduled.endswith(b"\n")
    assert read_entries(scheduled) == [PRETRAIN, ROTATE]
    assert replace_entries(scheduled, []) == table


@given(tables, entries, entries)
def test_any_table_comes_back_after_any_changes(table, first, second):
    once = replace_entries(table, first)
    twice = replace_entries(once, second)
    assert read_entries(twice) == second
    assert replace_entries(twice, first) == once
    assert replace_entries(twice, []) == table


@given(tables, tables, entries, entries)
def test_lines_before_and_after_the_block_stay(before, after, first, second):
    head = before + b"\n" if before else b""
    table = head + render_block(first) + after
    assert replace_entries(table, second) == head + render_block(second) + after
    assert replace_entries(table, []) == head + after


def test_lines_written_after_the_block_keep_the_newline_that_was_added():
    table = replace_entries(b"0 5 * * 1 tar", [PRETRAIN]) + b"0 6 * * 1 tar\n"
    assert replace_entries(table, []) == b"0 5 * * 1 tar\n0 6 * * 1 tar\n"


@pytest.mark.parametrize(
    ("table", "line", "reason"),
    [
        (b"x\n" + BEGIN + LINE, 2, "has no end"),
        (b"x\n" + LINE + ENDING, 3, "never began"),
        (BEGIN + LINE + ENDING + BEGIN + LINE + ENDING, 6, "second"),
        (BEGIN + LINE + BEGIN, 3, "second"),
        (BEGIN + LINE + ENDING + ENDING, 4, "second"),
        (ENDING + BEGIN, 1, "never began"),
        (BEGIN.replace(b"\n", b"\r\n") + LINE + ENDING, 1, "changed by hand"),
        (b"  " + BEGIN + LINE + ENDING, 1, "changed by hand"),
        (b"# >>> maejobs\n" + LINE + ENDING, 3, "never began"),
        (BEGIN + b"# mine\n" + LINE + ENDING, 2, "not one of ours"),
        (BEGIN + b"#" + LINE + ENDING, 2, "not one of ours"),
        (BEGIN + LINE + b"\n" + ENDING, 3, "not one of ours"),
        (BEGIN + b"0 5 * * 1 tar\n" + ENDING, 2, "not one of ours"),
    ],
)
def test_a_broken_block_is_refused_by_line_and_not_repaired(table, line, reason):
    for attempt in (
        read_entries,
        lambda t: replace_entries(t, []),
        lambda t: replace_entries(t, [ROTATE]),
    ):
        with pytest.raises(BrokenBlock, match=reason) as caught:
            attempt(table)
        assert caught.value.line == line
        assert f"line {line} " in str(caught.value)


@pytest.mark.parametrize(
    "comment", [b"# >>> maejobs: see the wiki\n", b"# <<< maejobs ends here\n", b"# >>> maejobs\n"]
)
def test_a_comment_that_only_begins_as_a_marker_does_is_somebodys(comment):
    table = replace_entries(comment, [PRETRAIN]) + comment
    assert read_entries(table) == [PRETRAIN]
    assert replace_entries(table, []) == comment + comment


@pytest.mark.parametrize("hint", [b"", b" (managed)", b" +newline", b" +newline (by maejobs)"])
def test_a_block_with_another_hint_in_its_marker_is_ours(hint):
    table = b"# >>> maejobs" + hint + b" >>>\n" + LINE + ENDING
    assert read_entries(table) == [PRETRAIN]


def test_blanks_put_into_a_line_of_the_block_by_hand_mean_nothing_and_stay():
    by_hand = LINE.replace(b"0 2 * * *", b"0\t3  * * *").replace(b" # maejobs", b"\t # maejobs")
    table = BEGIN + by_hand + ENDING
    (entry,) = read_entries(table)
    assert entry == Entry("pretrain", "0 3 * * *", PRETRAIN.command)
    assert by_hand in replace_entries(table, [entry, ROTATE])


def test_a_line_of_the_block_with_a_control_character_is_not_one_of_ours():
    table = BEGIN + LINE.replace(b"exec", b"\x01exec") + ENDING
    with pytest.raises(BrokenBlock, match=r"line 2 .*is not one of ours"):
        replace_entries(table, [ROTATE])


@pytest.mark.parametrize(
    "entry",
    [
        Entry("pre train", "0 2 * * *", "x"),
        Entry("", "0 2 * * *", "x"),
        Entry("a", "0 2 * *", "x"),
        Entry("a", "0 2 * * *", ""),
        Entry("a", "0 2 * * *", "x\n* * * * * y"),
        Entry("a", "0 2 * * *\n", "x"),
    ],
)
def test_an_entry_that_would_not_be_read_back_is_not_written(entry):
    with pytest.raises(UserError, match="cannot stand on a crontab line"):
        render_block([entry])


def test_the_command_is_plain_where_nothing_needs_quoting():
    assert exec_command(Path("/v/bin/maejobs"), "pretrain", None) == "/v/bin/maejobs exec pretrain"


def test_a_home_with_blanks_and_percent_is_quoted_for_cron_and_sh():
    command = exec_command(Path("/v/bin/maejobs"), "a", Path("/my 100%/home"))
    assert command == "/v/bin/maejobs exec a --home '/my 100\\%/home'"


@pytest.mark.parametrize("path", ["/a\nb", "/a\0b", "/a\tb", "/a\x7fb"])
def test_a_path_with_a_control_character_is_refused(path):
    with pytest.raises(UserError, match="control character"):
        exec_command(Path(path), "a", None)


def test_letters_that_a_locale_makes_of_a_path_are_not_written_for_cron(monkeypatch):
    path = Path("/home/\u00c3\u00a9/maejobs")  # what Latin-1 makes of an e with an accent
    assert exec_command(path, "a", None) == f"'{path}' exec a"
    monkeypatch.setattr(os, "fsencode", lambda word: word.encode("latin-1"))
    with pytest.raises(UserError, match=r"set LC_ALL=C\.UTF-8"):
        exec_command(path, "a", None)
    assert exec_command(Path("/maejobs"), "a", None) == "/maejobs exec a"


def through_cron(command: str, escapable: str) -> str:
    """What sh gets, by the rule of do_command.c: `\\%` is %, a bare % ends the command."""
    out, escaped = "", False
    for character in command:
        if escaped:
            out = out[:-1] + character if character in escapable else out + character
            escaped = False
        elif character == "%":
            break
        else:
            escaped = character == "\\"
            out += character
    return out


@pytest.mark.parametrize("escapable", ["%", "%\\"])  # Debian's cron turns two backslashes into one
@given(words, words)
def test_any_path_arrives_through_cron_and_sh(escapable, executable, home):
    command = exec_command(Path(f"/{executable}"), "a", Path(f"/{home}"))
    shell = f"printf '%s\\n' {through_cron(command, escapable)} # maejobs:a"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
    paths = [str(Path(f"/{name}")) for name in (executable, home)]
    assert done.stdout.split("\n")[:-1] == [paths[0], "exec", "a", "--home", paths[1]]


def test_a_home_that_is_not_utf8_survives_the_table(tmp_path):
    home = Path("/h\udcff")
    entry = Entry("a", "@daily", exec_command(Path("/m"), "a", home))
    table = replace_entries(b"", [entry])
    assert b"/h\xff" in table
    assert read_entries(table) == [entry]
