"""list: what `crontab -l` prints, to the byte."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import MAEJOBS
from databases import configure
from private_cron import PrivateCron, private_cron  # noqa: F401 (a fixture)

NASTY = {
    "Latin-1": b"# caf\xe9 \xff\xfe\n0 2 * * * /bin/true # \xe9\n",
    "CRLF in a comment": b"# from Windows\r\n0 2 * * * /bin/true\n",
    "no final newline": b"0 2 * * * /bin/true",
    "a thousand lines": b"".join(b"%d 2 * * * /bin/job-%d\n" % (n % 60, n) for n in range(1000)),
    "empty": b"",
    "blank lines and tabs": b"\n\n\t\n \t5 4 * * *\t\t/bin/true  \n\n",
    "percent and backslash": rb"0 2 * * * date +\%F \\ %input%more" + b"\n",
    "escape sequences": b"# \x1b[31mred\x07\n",
    "a broken block": b"# >>> maejobs >>>\nnot ours\n# >>> maejobs >>>\n",
}


def list_bytes(home, *arguments):
    return subprocess.run(
        [MAEJOBS, "list", *arguments],
        env={"PATH": "/usr/bin:/bin", "MAEJOBS_HOME": str(home.root)},
        capture_output=True,
    )


@pytest.mark.parametrize("table", NASTY.values(), ids=NASTY)
def test_a_file_is_printed_as_it_is_and_left_as_it_is(home, table):
    Path(home.crontab).write_bytes(table)
    done = list_bytes(home)
    assert (done.stdout, done.stderr, done.returncode) == (table, b"", 0)
    assert Path(home.crontab).read_bytes() == table


def test_without_a_file_it_says_what_crontab_says(home):
    done = list_bytes(home)
    assert done.stdout == b""
    assert done.stderr.startswith(b"no crontab for ")
    assert done.returncode == 1


def test_in_the_real_crontab_it_prints_the_same_bytes(private_cron: PrivateCron, home):  # noqa: F811
    configure(home, "")
    env = {"MAEJOBS_HOME": str(home.root)}
    none = private_cron.run(["crontab", "-l"])
    ours = private_cron.run([MAEJOBS, "list"], env)
    assert none.returncode == 1
    assert (ours.stdout, ours.stderr, ours.returncode) == (none.stdout, none.stderr, 1)
    for name in ("Latin-1", "CRLF in a comment", "a thousand lines", "blank lines and tabs"):
        installed = private_cron.run(["crontab", "-"], input=NASTY[name])
        assert installed.returncode == 0, installed.stderr
        theirs = private_cron.run(["crontab", "-l"])
        ours = private_cron.run([MAEJOBS, "list"], env)
        assert (ours.stdout, ours.stderr, ours.returncode) == (theirs.stdout, theirs.stderr, 0)
        assert theirs.stdout


def test_for_programs_it_prints_the_table_and_our_entries(home, write_job, maejobs):
    write_job("quick", 'command = ["true"]\n')
    Path(home.crontab).write_bytes(b"# caf\xe9\n")
    maejobs("schedule", "quick", "0 2 * * *")
    told = json.loads(list_bytes(home, "--json").stdout)
    assert told["table"].startswith("# caf\\xe9\n# >>> maejobs")
    assert [(e["job"], e["expression"]) for e in told["entries"]] == [("quick", "0 2 * * *")]


def test_none_for_programs_is_null_with_the_same_status(home):
    done = list_bytes(home, "--json")
    assert json.loads(done.stdout) == {
        "table": None,
        "entries": [],
        "trouble": None,
        "lines": [],
    }
    assert done.returncode == 1


def test_a_damaged_block_is_told_beside_the_lines(home):
    Path(home.crontab).write_bytes(b"# >>> maejobs >>>\n@daily x\n")
    told = json.loads(list_bytes(home, "--json").stdout)
    assert "has no end" in told["trouble"]
    assert [line["kind"] for line in told["lines"]] == ["comment", "job"]


def test_a_reader_that_goes_away_is_no_error(home):
    Path(home.crontab).write_bytes(NASTY["a thousand lines"] * 20)
    head = shutil.which("head")
    done = subprocess.run(
        ["bash", "-c", f'"{MAEJOBS}" list | {head} -n 1; exit ${{PIPESTATUS[0]}}'],
        env={"PATH": "/usr/bin:/bin", "MAEJOBS_HOME": str(home.root)},
        capture_output=True,
    )
    assert (done.stdout, done.stderr, done.returncode) == (b"0 2 * * * /bin/job-0\n", b"", 0)


def test_it_imports_nothing_heavy(home):
    Path(home.crontab).write_bytes(b"0 2 * * * /bin/true\n")
    code = (
        "import sys; sys.argv = ['maejobs', 'list']\n"
        "import atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from maejobs.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "/usr/bin:/bin", "MAEJOBS_HOME": str(home.root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "0 2 * * * /bin/true\n"
    heavy = {"sqlalchemy", "alembic", "pydantic", "rich", "croniter", "crontab", "torch", "numpy"}
    loaded = set(done.stderr.split())
    assert "click" in loaded
    assert not heavy & loaded
