"""Opening the database: what is wrong is said, readers wait for nobody, files are private."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from databases import change, empty, locked, told_of_lock
from recorded_runs import a_run, rows
from small_disk import fill, needs_root, small_disk
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from maejobs.errors import UserError
from maejobs.home import Home
from maejobs.rundb.database import (
    DatabaseUnavailable,
    found_revision,
    open_database,
    open_engine,
    reading,
)
from maejobs.rundb.migrate import downgrade, upgrade
from maejobs.rundb.queries import newest_runs
from maejobs.rundb.record import write_run
from maejobs.rundb.schema import REVISION

NOBODY = 65534
WRITE_AS_NOBODY = """
import os, sys
from pathlib import Path
from maejobs.home import Home
from maejobs.rundb.database import DatabaseUnavailable, open_database
from maejobs.rundb.record import set_job
home = Home(Path(sys.argv[1]))
with open_database(home):
    pass  # everything is imported now
home.database_file.parent.chmod(0o555)
if os.getuid() == 0:  # who may write whatever the mode says
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
try:
    with open_database(home) as engine:
        set_job(engine, "x", summary="y")
except DatabaseUnavailable as error:
    print(error)
"""


def trouble_with(home: Home) -> str:
    with pytest.raises(DatabaseUnavailable) as raised, open_database(home, 0.1) as engine:
        write_run(engine, a_run())
    return str(raised.value)


@contextmanager
def a_writer(home: Home):
    """Somebody who holds the write lock."""
    with locked(home) as connection:
        connection.execute("INSERT INTO jobs (name, summary) VALUES ('half', '')")
        yield


def set_revision(home: Home, revision: str) -> None:
    change(home, f"UPDATE alembic_version SET version_num = '{revision}'")


def test_a_database_that_is_not_there_is_not_made_by_opening_it(tmp_path):
    home = Home(tmp_path)
    home.create_directories()
    assert "no run database at" in trouble_with(home)
    assert "maejobs init" in trouble_with(home)
    assert found_revision(home) is None
    assert not home.database_file.exists()


def test_a_database_of_an_older_version_is_told_how_to_come_up(home):
    set_revision(home, "0000")
    assert f"is of version 0000, this maejobs needs {REVISION}" in trouble_with(home)
    assert "maejobs db upgrade" in trouble_with(home)


def test_a_database_of_a_newer_version_asks_for_a_newer_maejobs(home):
    set_revision(home, "9999")
    assert "is of version 9999, newer than this maejobs" in trouble_with(home)
    with pytest.raises(DatabaseUnavailable, match="9999"):
        upgrade(home)


@pytest.mark.parametrize("how", ["empty", "other tables", "downgraded"])
def test_a_database_without_our_tables_is_told_where_they_come_from(home, how):
    if how == "downgraded":
        downgrade(home, "base")
    else:
        empty(home)
        if how == "other tables":
            change(home, "CREATE TABLE recipes (name text)")
    assert "has no tables yet; `maejobs db upgrade` makes them" in trouble_with(home)
    upgrade(home)
    with open_database(home) as engine:
        assert write_run(engine, a_run())


@pytest.mark.fault
def test_a_locked_database_is_waited_for_and_then_said_to_be_locked(home):
    with a_writer(home):
        assert told_of_lock(home) in trouble_with(home)
    with open_database(home) as engine:
        assert write_run(engine, a_run())


@pytest.mark.fault
def test_reading_waits_for_no_writer(home, engine):
    write_run(engine, a_run())
    with a_writer(home):
        started = time.monotonic()
        with open_database(home) as reader:
            assert [run.id for run in newest_runs(reader, 9)] == [a_run().id]
            with reading(reader) as connection:
                assert connection.execute(text("SELECT count(*) FROM jobs")).scalar() == 1
        assert time.monotonic() - started < 3


@pytest.mark.fault
@pytest.mark.sqlite("puts something else in the place of its file")
@pytest.mark.parametrize("size", [10, 100, 100_000])
def test_a_file_that_is_no_database_is_said_to_be_none(home, size):
    garbage = os.urandom(size)
    home.database_file.write_bytes(garbage)
    assert "runs.db: file is not a database" in trouble_with(home)
    for attempt in (found_revision, upgrade):
        with pytest.raises(DatabaseUnavailable, match="not a database"):
            attempt(home)
    assert home.database_file.read_bytes() == garbage


@pytest.mark.fault
@pytest.mark.sqlite("puts something else in the place of its file")
def test_a_directory_in_the_database_s_place_is_said_to_be_wrong(home):
    home.database_file.unlink()
    home.database_file.mkdir()
    assert "unable to open database file" in trouble_with(home)
    with pytest.raises(DatabaseUnavailable, match="unable to open"):
        upgrade(home)


@pytest.mark.fault
@pytest.mark.sqlite("damages pages of its file")
def test_a_damaged_database_is_said_to_be_damaged(home, engine):
    write_run(engine, a_run())
    engine.dispose()
    with home.database_file.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (home.database_file.stat().st_size - 4096))
    assert "runs.db: database disk image is malformed" in trouble_with(home)


@needs_root
@pytest.mark.fault
def test_a_full_disk_is_said_to_be_full(tmp_path, empty_database):
    home = Home(tmp_path)
    with small_disk(tmp_path, "1m"):
        home.create_directories()
        shutil.copy(empty_database, home.database_file)
        fill(tmp_path / "ballast")
        assert trouble_with(home).endswith("runs.db: disk I/O error; its disk is full")


@pytest.mark.fault
def test_a_database_that_may_only_be_read_is_said_to_be_so(empty_database):
    with tempfile.TemporaryDirectory() as name:
        home = Home(Path(name) / "home")
        home.create_directories()
        shutil.copy(empty_database, home.database_file)
        home.database_file.chmod(0o444)
        for directory in (Path(name), home.root):
            directory.chmod(0o755)
        result = subprocess.run(
            [sys.executable, "-c", WRITE_AS_NOBODY, str(home.root), str(NOBODY)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        home.database_file.parent.chmod(0o755)
    assert result.stderr == ""
    assert str(home.database_file) in result.stdout
    assert "readonly" in result.stdout or "unable to open" in result.stdout


def test_a_url_that_means_nothing_is_bad_input():
    for url in ("nonsense", "oracle9://x", "://"):
        with pytest.raises(UserError, match="cannot be used"):
            open_engine(url)


@pytest.mark.parametrize("name", ["two words", "50%", "%20", "what?", "a#b", "é", "a&b=c", "'\""])
def test_a_home_s_path_may_hold_any_character(tmp_path, name):
    home = Home(tmp_path / name)
    upgrade(home)
    with open_database(home) as engine:
        write_run(engine, a_run())
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert home.database_file.exists()
    with open_database(home) as engine, reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM runs")).scalar() == 1


def test_all_files_of_a_database_are_private_while_it_is_open(tmp_path):
    os.umask(mask := os.umask(0o022))
    assert mask & 0o077 != 0o077, "the test says nothing under such a mask"
    home = Home(tmp_path / "home")
    upgrade(home)
    with open_database(home) as engine, engine.begin() as connection:
        connection.execute(text("INSERT INTO jobs (name, summary) VALUES ('x', '')"))
        modes = {path.name: path.stat().st_mode for path in home.database_file.parent.iterdir()}
    assert {name: stat.S_IMODE(mode) for name, mode in modes.items()} == {
        "runs.db": 0o600,
        "runs.db-wal": 0o600,
        "runs.db-shm": 0o600,
    }
    assert stat.S_IMODE(home.database_file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("place", ["/runs.db", "", "/:memory:", "/file:runs.db?uri=true"])
def test_a_file_that_depends_on_where_one_stands_is_refused(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    home = Home(tmp_path / "home", configured_database_url=f"sqlite://{place}")
    with pytest.raises(UserError, match="its path from the root on, like sqlite:////var"):
        upgrade(home)
    assert list(tmp_path.iterdir()) == []


def test_a_file_elsewhere_is_private_as_well(tmp_path):
    elsewhere = tmp_path / "elsewhere.db"
    home = Home(tmp_path / "home", configured_database_url=f"sqlite:///{elsewhere}")
    with pytest.raises(DatabaseUnavailable, match="no run database at"), open_database(home):
        pass
    assert not elsewhere.exists()
    upgrade(home)
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o600
    nowhere = tmp_path / "none" / "runs.db"
    with pytest.raises(DatabaseUnavailable, match=rf"sqlite:///{nowhere}: No such file"):
        upgrade(Home(tmp_path / "home", configured_database_url=f"sqlite:///{nowhere}"))


@pytest.mark.sqlite("its file's mode")
def test_a_database_opened_to_a_group_stays_open_to_it(home):
    home.database_file.chmod(0o640)
    upgrade(home)
    assert stat.S_IMODE(home.database_file.stat().st_mode) == 0o640


@pytest.mark.sqlite("its pragmas")
def test_every_transaction_is_kept_through_a_power_cut(engine):
    with reading(engine) as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


@pytest.mark.fault
def test_a_transaction_that_fails_leaves_nothing(home, engine):
    add = text("INSERT INTO jobs (name, summary) VALUES ('x', '')")
    with pytest.raises(IntegrityError), engine.begin() as connection:
        [connection.execute(add) for _ in range(2)]
    assert rows(home, "SELECT * FROM jobs") == []
