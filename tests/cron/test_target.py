"""Targets against a stand-in `crontab` on PATH; test_host.py has the real one."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from maejobs.cron.file_target import FileTarget
from maejobs.cron.host import refuse_unfaithful
from maejobs.cron.install import change_table
from maejobs.cron.target import Listing, TableRejected, TargetError, open_target
from maejobs.cron.user_target import UserTarget
from maejobs.errors import UserError

TABLE = b"0 5 * * 1 tar \xe4\n"

CRONIE = """
[ "$1" = -V ] && { echo "cronie 1.7.2"; exit 0; }
[ "$1" = -T ] && { cat "$2" > checked; exit 0; }
echo "called with $*" >> wrote; exit 0
"""
BUSYBOX = """
case $1 in -*) echo "crontab: invalid option -- 'V'
Usage: crontab [-c DIR] [-u USER] [-ler]|[FILE]" >&2; exit 1;; esac
echo "called with $*" >> wrote
"""


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Puts a `crontab` written in sh first on PATH, in a directory that is also the current one."""

    def put(script: str) -> Path:
        fake = tmp_path / "crontab"
        fake.write_text(f"#!/bin/sh\n{script}")
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return put


def test_a_crontab_gets_its_whole_table_though_we_are_killed_meanwhile(host):
    """Of a pipe it would take what had come through for all, and install that."""
    place = host("""[ "$1" = - ] && { kill -9 $PPID; sleep 0.1; cat > part; mv part installed; }""")
    table = b"# %s\n" % (b"x" * 99) * 2000  # more than a pipe holds
    code = "import sys; from maejobs.cron.host import call_crontab as call; "
    code += "call('-', stdin=sys.stdin.buffer.read())"
    done = subprocess.run(
        [sys.executable, "-c", code], input=table, env=os.environ | {"TMPDIR": str(place)}
    )
    assert done.returncode == -9
    give_up = time.monotonic() + 20
    while not (place / "installed").exists() and time.monotonic() < give_up:
        time.sleep(0.02)
    assert (place / "installed").read_bytes() == table
    assert {path.name for path in place.iterdir()} == {"crontab", "installed"}


def test_open_target_tells_the_user_from_a_file(tmp_path):
    assert open_target("user").name.startswith("crontab of ")
    assert open_target(str(tmp_path / "tab")).name == f"file {tmp_path}/tab"


def test_a_file_target_lists_as_crontab_does(tmp_path):
    target = FileTarget(tmp_path / "tab")
    assert target.read() is None
    listing = target.listing()
    assert (listing.stdout, listing.status) == (b"", 1)
    assert listing.stderr.startswith(b"no crontab for ")
    target.install(TABLE)
    assert target.listing() == Listing(TABLE, b"", 0)


def test_a_file_target_keeps_mode_link_and_owner_and_is_not_taken_away(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"a\n")
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 4242, 4243)
    was = real.stat()
    link.symlink_to(real)
    target = FileTarget(link)
    target.install(TABLE)
    assert link.is_symlink()
    assert real.read_bytes() == TABLE
    now = real.stat()
    assert (now.st_mode, now.st_uid, now.st_gid) == (was.st_mode, was.st_uid, was.st_gid)
    target.install(b"")
    assert target.read() == b""
    FileTarget(tmp_path / "none").install(b"")
    assert FileTarget(tmp_path / "none").read() is None


def test_a_file_that_we_may_not_write_to_is_refused_though_its_directory_is_ours():
    with tempfile.TemporaryDirectory() as place:
        table = Path(place, "tab")
        table.write_bytes(b"a\n")
        table.chmod(0o444)
        if os.geteuid() == 0:  # who acts then as whose the directory is
            Path(place).chmod(0o755)
            os.chown(place, 4242, 4243)
        was = table.stat()
        with pytest.raises(TargetError, match=r"tab cannot be written: its mode 0444 keeps \w+ fr"):
            FileTarget(table).install(TABLE)
        now = table.stat()
        assert table.read_bytes() == b"a\n"
        assert (now.st_ino, now.st_mode, now.st_uid) == (was.st_ino, was.st_mode, was.st_uid)


def test_a_file_that_is_a_directory_is_an_error_and_not_an_empty_table(tmp_path):
    with pytest.raises(TargetError, match="cannot be read"):
        FileTarget(tmp_path).read()
    with pytest.raises(TargetError, match="cannot be written"):
        FileTarget(tmp_path / "no" / "such").install(TABLE)


def test_what_can_be_no_file_is_told_with_what_to_do(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "root").symlink_to("/")
    for spec, why in (("/", "the root of all"), ("root", "the root of all"), ("loop", "to itself")):
        with pytest.raises(UserError, match=rf"^crontab .*: .*{why}; name a file$"):
            open_target(str(tmp_path / spec))


def test_what_is_there_and_no_plain_file_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # who reads it waits for a writer
    (tmp_path / "device").symlink_to("/dev/null")
    for name in (".", "pipe", "device"):
        with pytest.raises(UserError, match=r"^crontab .*: is there and no plain file; name anoth"):
            open_target(str(tmp_path / name))


def test_a_host_without_crontab_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match=r"apt install cron.*crontab = "):
        UserTarget().read()
    FileTarget(tmp_path / "tab").check(b"rubbish\n")  # nobody to ask


def test_only_no_crontab_for_means_empty(host):
    host("echo 'no crontab for joe' >&2; exit 1")
    assert UserTarget().read() is None
    host("echo 'You (joe) are not allowed to use this program' >&2; exit 1")
    with pytest.raises(TargetError, match="not allowed to use this program"):
        UserTarget().read()
    host("exit 1")
    with pytest.raises(TargetError, match="returned 1 and said nothing"):
        UserTarget().read()


def test_cronie_is_checked_by_a_real_file_and_never_with_n(host):
    place = host(CRONIE)
    UserTarget().check(TABLE)
    assert (place / "checked").read_bytes() == TABLE
    assert not (place / "wrote").exists()


def test_busybox_is_not_asked(host):
    place = host(BUSYBOX)
    UserTarget().check(b"rubbish\n")
    assert not (place / "wrote").exists()


def test_the_checkers_own_words_come_back_with_the_line(host):
    host(
        '[ "$1" = -V ] && { echo "cronie 1.7.2"; exit 0; }\n'
        'echo "\\"$2\\":1: bad hour" >&2; echo "Invalid crontab file, can\'t install." >&2; exit 1'
    )
    with pytest.raises(TableRejected, match="line 2: bad hour") as caught:
        UserTarget().check(b"# c\n0 25 * * * x\n")
    assert (caught.value.line, caught.value.words) == (2, "bad hour")


def test_a_checker_that_fails_for_another_reason_stops_the_user_table_but_not_a_file(host):
    place = host("echo '-n (dry run)' >&2; echo 'mkstemp: Read-only file system' >&2; exit 1")
    with pytest.raises(TargetError, match="Read-only file system"):
        UserTarget().check(TABLE)
    FileTarget(place / "tab").check(TABLE)


def test_a_failed_install_says_why(host):
    host("echo 'disk full' >&2; exit 1")
    with pytest.raises(TargetError, match=r"cannot be written: disk full"):
        UserTarget().install(TABLE)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"0 5 * * 1 tar\\r", "carriage return|literal"),
        (b"0 5 * * 1 tar\\b", "literal"),
        (b"0 5 * * 1 t\0r", "NUL"),
        (b"0 5 * * 1 " + b"x" * 990, "998 bytes"),
    ],
)
def test_what_the_listing_cannot_have_shown_faithfully_is_not_written(line, reason, host):
    place = host('[ "$1" = -V ] || touch wrote')
    for refuse in (refuse_unfaithful, UserTarget().check, UserTarget().install):
        with pytest.raises(TableRejected, match=reason) as caught:
            refuse(b"# fine\n" + line + b"\n")
        assert caught.value.line == 2
    assert not (place / "wrote").exists()
    refuse_unfaithful(b"x" * 998 + b"\n")


def test_cronie_holds_longer_lines(host):
    host("echo cronie 1.7.2")
    refuse_unfaithful(b"x" * 999)


def test_a_table_that_cron_takes_but_we_cannot_keep_is_not_called_bad():
    with pytest.raises(TableRejected) as caught:
        refuse_unfaithful(b"# from Windows\\r\n")
    assert str(caught.value).startswith("this crontab cannot be kept as it is: line 1: ")
    assert "`crontab -l` shows" in str(caught.value)
    with pytest.raises(TableRejected, match="cron would not take"):
        refuse_unfaithful(b"x" * 999)


def test_importing_target_imports_little():
    heavy = ["subprocess", "croniter", "crontab", "filelock", "zoneinfo", "difflib", "tempfile"]
    code = f"import sys, maejobs.cron.target; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_crontab_that_hangs_is_given_up(host, monkeypatch):
    monkeypatch.setattr("maejobs.cron.host.PATIENCE_SECONDS", 0.2)
    host("exec sleep 60")
    with pytest.raises(TargetError, match=r"^`crontab -l` did not answer within 0.2 s and was"):
        UserTarget().read()


def test_a_file_in_a_directory_that_is_not_there_names_the_directory(tmp_path):
    target = FileTarget(tmp_path / "no" / "table")
    with pytest.raises(TargetError, match=f"there is no directory {tmp_path}/no"):
        change_table(target, lambda table: b"@daily x\n", tmp_path / "backups")
