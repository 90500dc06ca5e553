"""The parsed view against the host's own checker: what it takes is a job or an assignment."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cron.strategies import lines, tables
from maejobs.cron.dialect import Dialect
from maejobs.cron.lines import Kind, Line, parse_lines, split_input

DEBIAN = b"dry run" in (
    subprocess.run(["crontab", "-V"], capture_output=True).stderr
    if shutil.which("crontab")
    else b""
)


def only(table: bytes, system: bool = False) -> Line:
    (line,) = parse_lines(table, system)
    return line


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"", Kind.BLANK),
        (b" \t", Kind.BLANK),
        (b"  # a = b", Kind.COMMENT),
        (b"#\xe4 \0", Kind.COMMENT),
        (b"a=b * * * *", Kind.ENVIRONMENT),
        (b"@daily =x", Kind.ENVIRONMENT),
        (b"FOO=", Kind.UNPARSABLE),  # Debian wants FOO=""
        (b"\r", Kind.UNPARSABLE),
        (b"0 5 * * fri-sun x", Kind.JOB),  # never fires, but cron takes it
        (b"*5,;2 1;2 1-2-3 jan-Feb 7 x", Kind.JOB),
        (b"0 0 * * *", Kind.JOB),  # nothing to run, but cron takes it
        (b"@reboot x", Kind.JOB),
        (b"@Daily x", Kind.UNPARSABLE),
        (b"5/10 * * * * x", Kind.UNPARSABLE),
        (b"0 0 * *", Kind.UNPARSABLE),
        (b"0 5 * * * " + b"x" * 998, Kind.JOB),
        (b"0 5 * * * " + b"x" * 999, Kind.UNPARSABLE),
        (b"0 5 * * * x\0y", Kind.UNPARSABLE),
    ],
)
def test_a_line_is_what_cron_takes_it_for(text, kind):
    assert only(text + b"\n").kind is kind
    assert [line.kind for line in parse_lines(text)] == ([kind] if text else [])


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        (b"A=b", "A", "b"),
        (b"  A = b c \t\r", "A", "b c"),
        (b"\"A b\" = ' c '  ", "A b", " c "),
        (b'A=""', "A", ""),
        (b"A=b=c", "A", "b=c"),
        (b'A=b"c', "A", 'b"c'),
        (b"=b", "", "b"),
        (b"A=\xe4", "A", "\udce4"),
    ],
)
def test_an_assignment_has_a_name_and_a_value(text, name, value):
    line = only(text + b"\n")
    assert (line.kind, line.name, line.value) == (Kind.ENVIRONMENT, name, value)


def test_a_job_has_its_parts():
    line = only(b"\t0  5 *\t* 1   tar \\%a%in%put\n")
    assert (line.expression, line.command, line.stdin) == ("0  5 *\t* 1", "tar %a", "in\nput\n")
    assert only(b"@daily x\r\n").command == "x\r"
    assert only(b"@daily\n").command == ""


def test_a_system_tables_job_names_its_user():
    line = only(b"0 5 * * *\troot  a b\n", system=True)
    assert (line.expression, line.user, line.command) == ("0 5 * * *", "root", "a b")
    line = only(b"@daily joe x%y\n", system=True)
    assert (line.user, line.command, line.stdin) == ("joe", "x", "y\n")
    for text, reason in ((b"@daily", "user and a command"), (b"@daily joe", "command is missing")):
        assert reason in (only(text + b"\n", system=True).reason or "")


@pytest.mark.parametrize(
    ("command", "shell", "stdin"),
    [
        ("a", "a", None),
        ("a%", "a", ""),
        ("a%b", "a", "b\n"),
        ("a%b%", "a", "b\n"),
        ("a%b%%c", "a", "b\n\nc\n"),
        (r"a\%b", "a%b", None),
        (r"a\\%b", "a\\", "b\n"),
        (r"a\b", r"a\b", None),
        (r"a%\%\\%\x", "a", "%\\%\\x\n"),
        ("a\\", "a\\", None),
    ],
)
def test_the_first_bare_percent_begins_the_input(command, shell, stdin):
    assert split_input(command) == (shell, stdin)


def test_ten_thousand_lines_are_ten_thousand_lines():
    table = b"0 5 * * 1 tar\r\n# \xe4\n" * 5000
    parsed = parse_lines(table)
    assert [line.number for line in parsed] == list(range(1, 10_001))
    assert b"".join(line.raw for line in parsed) == table


@given(tables, st.booleans())
def test_the_lines_joined_are_the_table(table, system):
    assert b"".join(line.raw for line in parse_lines(table, system)) == table


@given(st.binary(), st.booleans())
def test_any_bytes_joined_are_those_bytes(table, system):
    assert b"".join(line.raw for line in parse_lines(table, system)) == table


words = st.text("*0123456789-,/;jansufri@'\"=~x \t\r\\%", max_size=6)
near_jobs = st.lists(words, min_size=1, max_size=7).map(" ".join)
near_assignments = st.text("AB='\" \t\r#*", max_size=12)
near_lines = st.one_of(near_jobs, near_assignments).map(str.encode) | lines


@pytest.mark.skipif(not DEBIAN, reason="asks Debian's `crontab -n`")
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(near_lines.filter(lambda line: b"\n" not in line and b"\0" not in line))
def test_debian_takes_what_is_not_unparsable(tmp_path: Path, text: bytes):
    table = tmp_path / "table"
    table.write_bytes(text + b"\n")
    done = subprocess.run(["crontab", "-n", str(table)], capture_output=True)
    assert (done.returncode != 0) == (only(text + b"\n").kind is Kind.UNPARSABLE)


def test_numbers_overflow_as_crons_do():
    for number, kind in (
        ("4294967301", Kind.JOB),
        ("9223372036854775812", Kind.UNPARSABLE),
        ("9" * 5000, Kind.UNPARSABLE),
        ("*/4294967296", Kind.UNPARSABLE),
        ("*/4294967297", Kind.JOB),
    ):
        assert only(f"{number} * * * * x\n".encode()).kind is kind


def test_cronie_takes_longer_commands_and_busybox_ends_them_at_a_hash():
    (long,) = parse_lines(b"0 5 * * * " + b"x" * 999, dialect=Dialect.CRONIE)
    assert long.kind is Kind.JOB
    (line,) = parse_lines(b"0 5 * * * echo 50% # note\n", dialect=Dialect.BUSYBOX)
    assert (line.command, line.stdin) == ("echo 50%", None)
