import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import time_machine
from small_disk import needs_root, small_disk

from maejobs.cron import backups as kept
from maejobs.cron import table_lock
from maejobs.cron.file_target import FileTarget
from maejobs.cron.install import Change, Step, TableChanged, change_table
from maejobs.cron.target import TableRejected, TargetError
from maejobs.errors import MaejobsError

OLD, NEW = b"0 5 * * 1 tar\n", b"0 5 * * 1 tar\n0 6 * * * x\n"


class Watched(FileTarget):
    """A file target that notes what was done to it, and can be made to misbehave."""

    def __init__(self, path):
        super().__init__(path)
        self.done = []
        self.rejects = self.meanwhile = False
        self.arrives = lambda table: table

    def check(self, table):
        self.done.append("check")
        if self.rejects:
            raise TableRejected("bad minute", 1)
        if self.meanwhile:
            self.path.write_bytes(b"# somebody else\n")

    def install(self, table):
        self.done.append("install")
        super().install(self.arrives(table))


@pytest.fixture
def target(tmp_path):
    (tmp_path / "tab").write_bytes(OLD)
    return Watched(tmp_path / "tab")


@pytest.fixture
def change(target, tmp_path):
    def change(build, **options):
        return change_table(target, build, tmp_path / "backups", **options)

    return change


def backups(tmp_path):
    return sorted((tmp_path / "backups").glob("*/*"))


def test_a_change_is_checked_backed_up_and_installed(target, change, tmp_path):
    assert change(lambda table: table + b"0 6 * * * x\n") == Change(OLD, NEW)
    assert target.read() == NEW
    assert target.done == ["check", "install"]
    (backup,) = backups(tmp_path)
    assert backup.read_bytes() == OLD
    assert backup.stat().st_mode & 0o777 == 0o600


def test_no_change_touches_nothing(target, change, tmp_path):
    assert change(lambda table: table).is_empty
    assert target.done == []
    assert backups(tmp_path) == []


def test_no_table_and_an_empty_one_are_the_same(target, change, tmp_path):
    target.path.unlink()
    assert change(lambda table: table) == Change(None, b"")
    assert change(lambda table: table + OLD) == Change(None, OLD)
    assert backups(tmp_path) == []  # there was nothing to keep
    assert change(lambda table: b"") == Change(OLD, b"")
    assert target.read() == b""


def test_a_dry_run_checks_and_writes_nothing(target, change, tmp_path):
    planned = change(lambda table: NEW, dry_run=True)
    assert "+0 6 * * * x" in planned.diff()
    assert target.read() == OLD
    assert target.done == ["check"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tab"]


def test_a_failed_check_leaves_the_old_table(target, change, tmp_path):
    target.rejects = True
    with pytest.raises(TableRejected, match="line 1: bad minute"):
        change(lambda table: NEW)
    assert target.read() == OLD
    assert target.done == ["check"]
    assert backups(tmp_path) == []


def test_a_change_by_somebody_else_meanwhile_is_not_overwritten(target, change):
    target.meanwhile = True
    with pytest.raises(TableChanged, match="changed by somebody else"):
        change(lambda table: NEW)
    assert target.read() == b"# somebody else\n"


def test_what_somebody_wrote_right_after_us_stays_and_the_backup_is_named(target, change, tmp_path):
    target.arrives = lambda table: b"# theirs\n"
    with pytest.raises(TargetError) as caught:
        change(lambda table: NEW)
    assert str(backups(tmp_path)[0]) in str(caught.value)
    assert target.read() == b"# theirs\n"


@pytest.mark.parametrize("arrived", [0, 3, len(NEW) - 1])
def test_where_only_a_part_arrives_the_old_table_is_put_back(target, change, arrived):
    target.arrives = lambda table: table[:arrived] if table == NEW else table
    with pytest.raises(TargetError, match="the table from before was put back"):
        change(lambda table: NEW)
    assert target.read() == OLD


def test_where_writing_fails_half_way_the_old_table_is_put_back(target, change):
    def fail(table):
        if table == NEW:
            target.path.write_bytes(table[:20])
            raise TargetError("no space left on device")
        return table

    target.arrives = fail
    with pytest.raises(TargetError, match="no space left"):
        change(lambda table: NEW)
    assert target.read() == OLD


def test_only_the_newest_backups_are_kept(change, monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "KEPT", 3)
    with time_machine.travel(datetime(2026, 5, 1, tzinfo=UTC), tick=False) as clock:
        for n in range(5):
            clock.shift(1)
            change(lambda table, n=n: b"# %d\n" % n)
    assert [b.read_bytes() for b in backups(tmp_path)] == [b"# 1\n", b"# 2\n", b"# 3\n"]
    assert backups(tmp_path)[-1].name == "20260501T000005.000000Z.crontab"


def test_a_backup_that_cannot_be_written_is_told_and_the_table_stays(target, change, tmp_path):
    (tmp_path / "backups").write_bytes(b"in the way")
    with pytest.raises(MaejobsError, match=r"Not a directory; the crontab stays as it is"):
        change(lambda table: NEW)
    assert target.path.read_bytes() == OLD


@needs_root
def test_a_disk_that_is_read_only_is_named_and_no_lock_blamed(target, tmp_path):
    with small_disk(tmp_path, "64k"):
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
        with pytest.raises(TargetError, match=r"/\.tab\.lock: Read-only file system$"):
            change_table(target, lambda table: NEW, tmp_path / "backups")


def test_what_somebody_writes_while_the_new_table_is_flushed_is_not_overwritten(
    target, change, monkeypatch
):
    flush = os.fsync

    def slow_flush(descriptor):
        target.path.write_bytes(b"")
        flush(descriptor)

    def on_step(step):
        if step is Step.INSTALL:
            monkeypatch.setattr(os, "fsync", slow_flush)

    with pytest.raises(TableChanged, match="changed by somebody else meanwhile; try again"):
        change(lambda table: NEW, on_step=on_step)
    assert target.path.read_bytes() == b""


def test_a_lock_that_is_not_free_is_named(target, change, monkeypatch):
    monkeypatch.setattr(table_lock, "TIMEOUT_SECONDS", 0.05)
    with (
        table_lock.lock_table(target),
        pytest.raises(TargetError, match=r"another maejobs.*/\.tab\.lock"),
    ):
        change(lambda table: NEW)


def test_the_diff_shows_a_missing_final_newline():
    assert Change(b"a", b"a\n").diff().splitlines()[3:] == [
        "-a",
        "\\ No newline at end of file",
        "+a",
    ]
    assert Change(b"a", b"a").diff() == ""
    assert "+\\xe4" in Change(None, b"\xe4\n").diff()


ADD_A_LINE = """
import sys
from pathlib import Path
from maejobs.cron.install import change_table
from maejobs.cron.target import open_target

spec, place, line = sys.argv[1:]
change_table(
    open_target(spec),
    lambda table: table + f"0 5 * * * {line}\\n".encode(),
    Path(place, "backups"),
)
"""


def test_ten_at_once_lose_nothing(tmp_path):
    spec = str(tmp_path / "tab")
    started = [
        subprocess.Popen([sys.executable, "-c", ADD_A_LINE, spec, tmp_path, f"job-{n}"])
        for n in range(10)
    ]
    assert [process.wait(60) for process in started] == [0] * 10
    lines = (tmp_path / "tab").read_text().splitlines()
    assert sorted(lines) == [f"0 5 * * * job-{n}" for n in range(10)]
    assert len(backups(tmp_path)) == 9
