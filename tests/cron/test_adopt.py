import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cron.strategies import tables
from maejobs.cron.adopt import CannotAdopt, matching_line, replace_line, take_over
from maejobs.cron.block import Entry, read_entries, replace_entries
from maejobs.cron.dialect import Dialect
from maejobs.jobs.load import parse_job
from maejobs.jobs.placeholders import expand
from maejobs.jobs.render import render_job

texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1)


@given(st.lists(texts, min_size=1), texts)
def test_any_command_comes_back_from_its_file(command, value):
    job = parse_job(Path("x"), "x", render_job("s", command, "@daily", {"A": value}))
    assert [expand(word, {}) for word in job.command] == command
    assert expand(job.env["A"], {}) == value


def test_what_cron_would_run_is_run_with_its_input():
    adoption = take_over(b"A=b\n* * * * * cat; umask; echo \"$A {}\" '50\\%'%x%y\n", 2)
    done = subprocess.run(adoption.argv, env=adoption.environment, capture_output=True)
    assert done.stdout == b"x\ny\n0022\nb {} 50%\n"


def test_without_input_it_is_run_with_crons_umask_and_shell_too():
    adoption = take_over(b'SHELL=/bin/bash\n* * * * * umask; echo "$0 ${#BASH}"\n', 2)
    done = subprocess.run(adoption.argv, env=adoption.environment, capture_output=True, umask=0o77)
    assert done.stdout == b"0022\n/bin/bash 9\n"


def test_every_other_line_stays():
    entry = Entry("a", "@daily", "/m exec a")
    table = b"# c\n@daily tar\n0 5 * * 1 x\n"
    number = matching_line(table, "tar")
    assert replace_line(table, take_over(table, number), entry) == replace_entries(
        b"# c\n0 5 * * 1 x\n", [entry]
    )


def test_a_line_that_only_its_own_cron_takes_is_found_by_what_it_holds():
    table = b"0 5 * * 1 tar " + b"x" * 2000 + b"\n"
    assert matching_line(table, "tar", dialect=Dialect.CRONIE) == 1


@given(tables, tables, st.booleans())
def test_whatever_stands_around_it_stays(above, below, with_block):
    head = above + b"\n" if above else b""
    if with_block:
        head = replace_entries(head, [Entry("b", "@daily", "/m exec b")])
    table = head + b"0 5 * * 1 tar\n" + below
    try:
        adoption = take_over(table, head.count(b"\n") + 1)
    except CannotAdopt:
        return  # a variable set above it that no job can have
    new = Entry("a", "0 5 * * 1", "/m exec a")
    assert replace_line(table, adoption, new) == replace_entries(
        head + below, [*read_entries(head), new]
    )


@pytest.mark.parametrize(
    "table", [b"CRON_TZ=UTC\n@daily x\n", b"MAEJOBS_X=1\n@daily x\n", b"#\n0 0 * * fri-sun x\n"]
)
def test_what_cannot_be_kept_is_refused(table):
    with pytest.raises(CannotAdopt):
        take_over(table, 2)


@pytest.mark.parametrize("between", [b"CRON_TZ=UTC\n", b"TZ=UTC\n", b"HOME=/x\n", b"LANG=C\n"])
def test_what_would_reach_it_in_our_block_only_is_refused(between):
    table = b"@daily x\n" + between
    adoption = take_over(table, 1)
    entry = Entry("a", "@daily", "/m exec a")
    with pytest.raises(CannotAdopt, match="our block"):
        replace_line(table, adoption, entry)
    # Below our block it reaches nothing of ours.
    block = replace_entries(b"@daily x\n", [Entry("b", "@daily", "/m exec b")])
    assert replace_line(block + between, adoption, entry).endswith(between)


def test_what_the_job_file_sets_is_not_changed_from_between():
    table = b"HOME=/x\n@daily x\nHOME=/y\n"
    adoption = take_over(table, 2)
    assert adoption.environment["HOME"] == "/x"
    assert replace_line(table, adoption, Entry("a", "@daily", "/m exec a"))


def test_under_busybox_no_percent_is_input_and_no_variable_is_set_but_the_shell():
    table = b"A=b\nSHELL=/bin/bash\n*/2 * */2 * * date +%F # daily\n"
    adoption = take_over(table, 3, dialect=Dialect.BUSYBOX)
    assert adoption.argv[-1] == "date +%F"
    assert adoption.environment == {"PATH": "/usr/bin:/bin", "SHELL": "/bin/bash"}
    with pytest.raises(CannotAdopt, match="Sunday as 0 only"):
        take_over(b"0 0 * * 7 x\n", 1, dialect=Dialect.BUSYBOX)
