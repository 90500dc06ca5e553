import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.cron.block import Entry, replace_entries
from maejobs.cron.doubts import doubts_of


@pytest.mark.parametrize(
    ("line", "doubt"),
    [
        (b"0 0 * * fri-sun x", "line 1, column 9: cron takes it, but `fri-sun`"),
        (b"  0 0 30 2 * x", "line 1, column 7: cron takes it, but `30` never comes"),
        (b"0 0 1-2-3 * * x", "line 1, column"),
        (b"0 0 * * *\xff x", "line 1, column 10: cron takes it, but the byte 0xff"),
        (b"0 0 2 * * * x", "line 1: a time has five fields, and `*` begins the command"),
        (b"0 0 1 1 * 2026 x", "line 1: a time has five fields, and `2026` begins the command"),
        (b"@daily ", "line 1: there is no command"),
    ],
)
def test_what_cron_does_not_do_as_it_looks_is_told(line, doubt):
    (told,) = doubts_of(line + b"\n")
    assert told.startswith(doubt)
    assert "\n" not in told


@pytest.mark.parametrize("line", [b"0 0 * * 5 x", b"#0 0 * * fri-sun x", b"A=fri-sun", b"nonsense"])
def test_of_all_other_lines_nothing_is(line):
    assert doubts_of(line + b"\n") == []


def test_a_line_that_was_there_before_is_passed_over():
    old = b"0 0 * * fri-sun x\n"
    assert doubts_of(b"# new\n" + old, old) == []


def test_a_line_of_ours_is_no_doubt_but_an_error():
    assert doubts_of(replace_entries(b"", [Entry("a", "0 0 * * fri-sun", "/m exec a")])) == []


def test_in_a_system_table_the_user_is_no_command():
    assert doubts_of(b"@daily root x\n", system=True) == []


@given(st.lists(st.sampled_from([b"0", b"*", b"fri-sun", b" ", b"\t", b"*\xff", b"\n", b"@daily"])))
def test_any_bytes_can_be_looked_at(words):
    for doubt in doubts_of(b" ".join(words)):
        assert doubt.startswith("line ")
