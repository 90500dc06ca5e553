"""user_target, host and debian_listing against the real `crontab`, in a private namespace."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from private_cron import JOE

from cron.test_install import ADD_A_LINE
from maejobs.cron.block import Entry, exec_command, replace_entries

THEIRS = b"# mine\n#\xe4\n\nMAILTO=joe\n0  5 * * 1\ttar \\%  # x\n@reboot true\n"

# Reads steps from standard input as JSON and prints what each gave.
STEPS = """
import json, sys
from maejobs.cron.target import open_target
from maejobs.errors import MaejobsError

target = open_target("user")
for name, text in json.load(sys.stdin):
    arguments = [] if text is None else [text.encode("latin-1")]
    try:
        result = getattr(target, name)(*arguments)
    except MaejobsError as error:
        result = f"{type(error).__name__}: {error}"
    print(json.dumps(result.decode("latin-1") if isinstance(result, bytes) else result))
"""


@pytest.fixture
def user_target(private_cron):
    """Calls methods of a UserTarget inside, giving back their results or errors in order."""

    def call(*steps, user=None):
        wanted = [
            (name, None if table is None else table.decode("latin-1")) for name, table in steps
        ]
        become = ["setpriv", "--reuid", str(JOE), "--regid", str(JOE), "--clear-groups"]
        argv = [*(become if user else ()), sys.executable, "-c", STEPS]
        done = private_cron.run(argv, input=json.dumps(wanted).encode())
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return call


def test_a_table_goes_in_and_out_byte_for_byte(user_target):
    table = replace_entries(THEIRS, [Entry("a", "@daily", "x")])
    assert user_target(
        ("read", None),
        ("check", table),
        ("install", table),
        ("read", None),
        ("install", THEIRS),
        ("read", None),
        ("install", b""),
        ("read", None),
        ("install", b""),
    ) == [None, None, None, table.decode("latin-1"), None, THEIRS.decode("latin-1"), *[None] * 3]


def test_unscheduling_the_only_job_leaves_what_was_there_before_it(private_cron):
    list_it = ["crontab", "-l"]
    before = private_cron.run(list_it)
    for line in ("append", ""):
        private_cron.run(
            [
                sys.executable,
                "-c",
                "import sys; from maejobs.cron.user_target import UserTarget;"
                "UserTarget().install(sys.stdin.buffer.read())",
            ],
            input=b"@daily x\n" if line else b"",
        )
    after = private_cron.run(list_it)
    assert (after.stdout, after.stderr, after.returncode) == (
        before.stdout,
        before.stderr,
        before.returncode,
    )


@pytest.mark.parametrize(
    ("table", "line", "words"),
    [
        (b"0 25 * * * x\n", 1, "bad hour"),
        (b"# c\n\nA=b\n0 0 1 13 * x\n* * * * * y\n", 4, "bad month"),
        (b"* * * * * y\n0 0\n* * * * * y\n", 2, "bad day-of-month"),
        (b"* * * * * y\n@dayly x\n", 2, "bad time specifier"),
        (b"* * * * * y\n* * * * * z", 2, "missing newline"),
    ],
)
def test_the_checkers_words_name_the_line(user_target, table, line, words):
    for answer in user_target(("check", table), ("install", table)):
        assert answer.startswith("TableRejected: ")
        assert f"line {line}: {words}" in answer
    assert user_target(("read", None)) == [None]


def test_the_check_writes_nothing(user_target, private_cron):
    assert user_target(("check", THEIRS), ("read", None)) == [None, None]
    assert list((private_cron.spool / "crontabs").iterdir()) == []


STRANGE = b'# two\n0 5 * * 1 tar\r\n0 6 * * * tr -d "\\r\r\b" \\b\n'


@pytest.mark.parametrize(
    "table", [STRANGE, b"# one\n" + STRANGE, b"# 1\n# 2\n# 3\n# 4\n" + STRANGE], ids=["2", "3", "5"]
)
@pytest.mark.parametrize("by_hand", [False, True], ids=["installed", "written by hand"])
def test_what_debians_listing_hides_is_read_and_kept(user_target, private_cron, table, by_hand):
    file = private_cron.spool / "crontabs" / "root"
    if by_hand:
        file.write_bytes(table)
        file.chmod(0o600)
    else:
        private_cron.run(["crontab", "-"], input=table)
    text = table.decode("latin-1")
    more = table + b"@daily x\n"
    steps = (("read", None), ("check", more), ("install", more), ("read", None))
    assert user_target(*steps) == [text, None, None, more.decode("latin-1")]
    assert file.read_bytes().endswith(b"\n" + more)


def test_a_user_who_cannot_see_the_spool_keeps_strange_bytes_too(user_target, private_cron):
    private_cron.let_everybody_run_maejobs()
    private_cron.run(["crontab", "-u", "joe", "-"], input=STRANGE)
    more = STRANGE + b"@daily x\n"
    steps = (("read", None), ("install", more), ("read", None))
    text = more.decode("latin-1")
    assert user_target(*steps, user="joe") == [STRANGE.decode("latin-1"), None, text]
    assert (private_cron.spool / "crontabs" / "joe").read_bytes().endswith(b"\n" + more)


def test_what_nobody_can_tell_apart_is_not_written_back(user_target, private_cron):
    file = private_cron.spool / "crontabs" / "root"
    file.write_bytes(
        b"# from Windows\r\n@daily x\n"
    )  # which `crontab -e` hides, and `-l` spells out
    file.chmod(0o600)
    listed, answer = user_target(("read", None), ("install", b"# from Windows\\r\n@daily y\n"))
    assert listed == "# from Windows\\r\n@daily x\n"
    assert answer.startswith("Unfaithful: ")
    assert file.read_bytes() == b"# from Windows\r\n@daily x\n"


def test_ten_at_once_lose_nothing(private_cron, tmp_path):
    inside = (
        'for n in 0 1 2 3 4 5 6 7 8 9; do "$0" -c "$1" user "$2" job-$n & done; '
        "for pid in $(jobs -p); do wait $pid || exit 1; done; crontab -l"
    )
    done = private_cron.run(["bash", "-c", inside, sys.executable, ADD_A_LINE, tmp_path])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert sorted(lines) == [f"0 5 * * * job-{n}" for n in range(10)]


def test_the_machines_own_table_is_out_of_reach(private_cron):
    mine = subprocess.run(["crontab", "-l"], capture_output=True)
    private_cron.run(["crontab", "-"], input=b"@daily private\n")
    assert b"private" in private_cron.run(["crontab", "-l"]).stdout
    again = subprocess.run(["crontab", "-l"], capture_output=True)
    assert (mine.stdout, mine.stderr) == (again.stdout, again.stderr)


FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@pytest.mark.skipif(not Path("/usr/sbin/cron").exists(), reason="needs /usr/sbin/cron")
@pytest.mark.skipif(not FAKETIME.exists(), reason=f"needs {FAKETIME}")
def test_a_line_of_ours_starts_what_it_names_whatever_the_path(private_cron, user_target, tmp_path):
    said, home = tmp_path / "said", tmp_path / "#home \\\\% é"
    executable = tmp_path / "100% my\\%'bin" / "maejobs"
    executable.parent.mkdir()
    executable.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$0" "$@" > {said}.new\nmv {said}.new {said}\n'
    )
    executable.chmod(0o755)
    line = Entry("a", "* * * * *", exec_command(executable, "a", home))
    table = replace_entries(THEIRS.replace(b"@reboot true\n", b""), [line])
    assert user_target(("check", table), ("install", table)) == [None, None]

    faked = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": "@2026-05-29 01:50:00 x60"}
    settings = [f"{key}={value}" for key, value in faked.items()]
    daemon = subprocess.Popen(
        private_cron.command(
            "env", *settings, "FAKETIME_DONT_FAKE_MONOTONIC=1", "/usr/sbin/cron", "-f"
        )
    )
    try:
        wait_until(said.exists)
    finally:
        daemon.terminate()
        daemon.wait(10)
    expected = [str(executable), "exec", "a", "--home", str(home)]
    assert said.read_text().splitlines() == expected


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def test_a_table_of_too_many_lines_is_refused_in_the_hosts_words(user_target):
    most = b"# x\n" * 10_000
    fits, told, kept = user_target(("check", most), ("check", most + b"# x\n"), ("read", None))
    assert fits is None
    assert told == (
        "TableRejected: cron would not take this crontab: crontab is too long; maximum number of "
        "lines is 10000"
    )
    assert kept is None
