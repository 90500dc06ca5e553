"""The database copied while others write: whole, private, proven, and only then older ones go."""

import re
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from databases import content_of_copy as content
from databases import is_postgresql, put_back
from recorded_runs import a_run, rows
from small_disk import needs_root, small_disk

from maejobs.errors import MaejobsError, NotNow, UserError
from maejobs.home import Home
from maejobs.keep.database_backup import back_up_database
from maejobs.keep.lock import hold
from maejobs.rundb.database import DatabaseUnavailable, open_database
from maejobs.rundb.migrate import downgrade
from maejobs.rundb.record import write_run

NOW = datetime(2026, 11, 28, 3, 15, tzinfo=UTC)
KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from maejobs.home import open_home
from maejobs.keep import database_backup
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
database_backup._copy_sqlite = database_backup._dump_postgresql = die
database_backup.back_up_database(open_home(sys.argv[1]), Path(sys.argv[2]), 3, datetime.now(UTC))
"""


def runs_in(file: Path) -> list[str]:
    if file.suffix == ".dump":
        (lines,) = re.findall(r"^COPY public.runs \(id, .*\n((?:.*\n)*?)\\\.$", content(file), re.M)
        return sorted(line.split("\t")[0] for line in lines.splitlines())
    with closing(sqlite3.connect(file)) as connection:
        return [run for (run,) in connection.execute("SELECT id FROM runs ORDER BY id")]


def ids(home: Home) -> list[str]:
    return [row["id"] for row in rows(home, "SELECT id FROM runs ORDER BY id")]


def named(home: Home, *names: str) -> list[str]:
    """Names of copies, as those of the home's database end."""
    return [f"runs-{name}.{'dump' if is_postgresql(home) else 'db'}" for name in names]


def copies_in(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if not path.name.startswith("."))


def record(home: Home, *nights: int) -> None:
    with open_database(home) as engine:
        for night in nights:
            write_run(engine, a_run(night=night))


@pytest.mark.both_databases
def test_a_copy_is_a_database_that_serves_as_ours(home, tmp_path):
    record(home, 0, 1)
    made = back_up_database(home, tmp_path / "b", 3, NOW)
    assert [made.path.name] == named(home, "20261128T031500Z")
    assert made.bytes == made.path.stat().st_size > 0
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.path.parent.stat().st_mode) == 0o700
    assert copies_in(tmp_path / "b") == ["origin", made.path.name]
    put_back(home, made.path)
    record(home, 2)
    assert len(ids(home)) == 3


def test_the_newest_stay_and_what_is_not_ours_too(home, tmp_path):
    (mine,) = named(home, "mine")
    (tmp_path / mine).touch()
    for day in range(4):
        made = back_up_database(home, tmp_path, 2, NOW + timedelta(days=day))
    assert made.removed == named(home, "20261129T031500Z")
    kept = [name for name in copies_in(tmp_path) if name.startswith("runs-")]
    assert kept == [*named(home, "20261130T031500Z", "20261201T031500Z"), mine]


def test_one_made_after_the_clock_was_ahead_is_not_the_first_to_go(home, tmp_path):
    ahead = [back_up_database(home, tmp_path, 2, NOW + timedelta(days=n)).path for n in (400, 401)]
    foretold = back_up_database(home, tmp_path, 2, NOW, dry_run=True)
    made = back_up_database(home, tmp_path, 2, NOW)
    assert made.removed == foretold.removed == [ahead[0].name]
    assert [path.exists() for path in (made.path, *ahead)] == [True, False, True]
    assert back_up_database(home, tmp_path, 2, NOW + timedelta(days=1)).removed == [ahead[1].name]


def test_an_older_copy_that_cannot_be_deleted_keeps_the_others_from_nothing(home, tmp_path):
    copies = [back_up_database(home, tmp_path, 3, NOW + timedelta(days=n)).path for n in range(3)]
    copies[0].unlink()
    copies[0].mkdir()  # which no file's removal takes away
    made = back_up_database(home, tmp_path, 1, NOW + timedelta(days=4))
    assert made.removed == [copies[1].name, copies[2].name]
    (line,) = made.undeleted
    assert line.startswith(f"{copies[0]}: cannot be deleted: ")
    assert made.path.is_file()


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_disk_that_is_not_mounted_gets_no_copy_beneath_it(home, tmp_path, dry_run):
    disk = tmp_path / "disk"
    back_up_database(home, disk, 2, NOW)
    disk.rename(tmp_path / "unplugged")
    disk.mkdir()
    with pytest.raises(MaejobsError, match=f"{disk}: held copies before.* is the disk mounted"):
        back_up_database(home, disk, 2, NOW, dry_run)
    assert list(disk.iterdir()) == []
    assert back_up_database(home, disk, 2, NOW, dry_run, afresh=True).path.parent == disk


def test_an_origin_that_is_no_text_is_another_databases(home, tmp_path):
    (tmp_path / "origin").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="holds the backup of"):
        back_up_database(home, tmp_path, 2, NOW)


def test_a_dry_run_foretells_and_touches_nothing(home, tmp_path):
    for day in range(3):
        back_up_database(home, tmp_path / "b", 3, NOW + timedelta(days=day))
    before = copies_in(tmp_path / "b")
    foretold = back_up_database(home, tmp_path / "b", 2, NOW + timedelta(days=3), dry_run=True)
    assert copies_in(tmp_path / "b") == before
    made = back_up_database(home, tmp_path / "b", 2, NOW + timedelta(days=3))
    assert (foretold.path, foretold.removed) == (made.path, made.removed)
    back_up_database(home, tmp_path / "none", 2, NOW, dry_run=True)
    assert not (tmp_path / "none").exists()


def test_one_of_an_older_version_is_copied_too(home, tmp_path):
    downgrade(home, "0001")
    assert back_up_database(home, tmp_path, 2, NOW).path.exists()


@pytest.mark.both_databases
@pytest.mark.fault
def test_a_copy_made_while_others_write_is_of_one_moment_and_keeps_nobody_waiting(home, tmp_path):
    record(home, *range(50))
    stop, trouble = threading.Event(), []

    def write() -> None:
        night = 50
        try:
            with open_database(home, busy_timeout=2) as engine:
                while not stop.is_set():
                    write_run(engine, a_run(night=night))
                    night += 1
        except Exception as error:
            trouble.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [
            back_up_database(home, tmp_path, 9, NOW + timedelta(seconds=n)).path for n in range(3)
        ]
    finally:
        stop.set()
        writer.join(60)
    assert trouble == []
    everything = ids(home)
    for path in made:
        found = runs_in(path)
        assert len(found) >= 50
        assert found == everything[: len(found)]


@pytest.mark.fault
@pytest.mark.sqlite("damages pages of its file")
def test_a_damaged_database_pushes_no_good_copy_out(home, tmp_path):
    record(home, *range(40))
    good = back_up_database(home, tmp_path, 1, NOW).path
    size = home.database_file.stat().st_size
    with home.database_file.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * (size - 4096 * 3))
    with pytest.raises(MaejobsError) as raised:
        back_up_database(home, tmp_path, 1, NOW + timedelta(days=1))
    assert "\n" not in str(raised.value)
    assert copies_in(tmp_path / "") == sorted(["home", "origin", good.name])
    assert len(runs_in(good)) == 40


@pytest.mark.fault
def test_one_that_is_killed_leaves_no_copy_and_the_next_sweeps_up(home, tmp_path):
    place = tmp_path / "b"
    script = [sys.executable, "-c", KILLED, str(home.root), str(place)]
    assert subprocess.run(script, timeout=60, check=False).returncode == -signal.SIGKILL
    (left,) = place.glob(".runs-*")
    made = back_up_database(home, place, 1, NOW)
    assert copies_in(place) == ["origin", made.path.name]
    assert not left.exists()


@pytest.mark.fault
@needs_root
def test_too_little_room_is_told_and_the_old_copies_stay(home, tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    with small_disk(place, "16k" if is_postgresql(home) else "48k"):
        (old,) = named(home, "20260101T000000Z")
        (place / old).touch()
        with pytest.raises(MaejobsError, match=r"bytes free|No space left"):
            back_up_database(home, place, 1, NOW)
        assert copies_in(place) == ["origin", old]


def test_one_at_a_time_and_one_database_a_place(home, new_home, tmp_path):
    back_up_database(home, tmp_path / "b", 3, NOW)
    with hold(tmp_path / "b"), pytest.raises(NotNow):
        back_up_database(home, tmp_path / "b", 3, NOW)
    other = new_home(tmp_path / "other")
    with pytest.raises(UserError, match="holds the backup of"):
        back_up_database(other, tmp_path / "b", 3, NOW)
    with pytest.raises(UserError, match="not a directory"):
        back_up_database(home, home.config_file, 3, NOW)


def test_before_there_is_a_database_there_is_nothing_to_copy(tmp_path):
    with pytest.raises(DatabaseUnavailable, match="nothing in it"):
        back_up_database(Home(tmp_path), tmp_path / "b", 3, NOW)
    assert not (tmp_path / "b").exists()
