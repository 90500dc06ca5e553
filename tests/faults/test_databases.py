"""A night without its database: locked, read-only, cut, newer, gone, or older than it was."""

import os
import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from running import runs_of

from maejobs.rundb.run import SUCCEEDED

from .invariants import check, look
from .night import STEPS, Nights
from .table import Table

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3600)]

LENGTHS = 20  # to which the whole table cuts the file
LOCKED_SECONDS = (4.0, 40.0)  # in a share of the table, in the whole
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'


def deleted(file: Path) -> None:
    file.unlink()


def garbage(file: Path) -> None:
    file.write_bytes(b"SQLite format 3\0" + os.urandom(50_000))


def newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()


def a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def test_one_that_is_of_no_use(nights: Nights, table: Table, chance: random.Random) -> None:
    ways = [deleted, garbage, newer, a_directory]
    for spoil in chance.sample(ways, table.share(len(ways))):
        with table.injection(f"database {spoil.__name__.replace('_', ' ')}"):
            _without(nights, spoil)


def test_one_that_was_cut(nights: Nights, table: Table, chance: random.Random) -> None:
    nights.undisturbed()
    size = nights.home.database_file.stat().st_size
    edges = [0, 4096, size - 4096]
    lengths = [*edges, *chance.sample(range(1, size), LENGTHS - len(edges))]
    for length in chance.sample(lengths, table.share(LENGTHS)):
        with table.injection("database cut short"):
            _without(nights, lambda file: os.truncate(file, length))  # noqa: B023


def test_one_that_may_only_be_read(nights: Nights, table: Table) -> None:
    nights.within = ("unshare", "-m", "sh", "-c", READ_ONLY, str(nights.home.database_file.parent))
    if subprocess.run([*nights.within, "true"], check=False).returncode:
        pytest.skip("no private mount namespace here")
    with table.injection("database read-only"):
        _without(nights, lambda _: None)


def test_one_that_somebody_has_locked(nights: Nights, table: Table) -> None:
    before = look(nights)
    file, seconds = nights.home.database_file, LOCKED_SECONDS[table.is_whole]
    with table.injection(f"database locked for {seconds:.0f} s"):
        slot = nights.next_night()
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            began = time.monotonic()
            night = nights.start("exec", "night")
            time.sleep(seconds - (time.monotonic() - began))
            other.execute("ROLLBACK")
        night.wait(90)
        assert night.returncode == 0, nights.said()
        check(nights, before)
        _check_that_it_is_known_once(nights, slot)


def test_one_that_is_a_copy_from_before(nights: Nights, table: Table) -> None:
    nights.undisturbed()
    before = look(nights)
    with table.injection("database an older copy"):
        copy = _copied(nights)
        slots = [nights.next_night() for _ in range(2)]
        nights.set_clock(slots[0])
        assert nights.call("exec", "night")[0] == 0
        nights.set_clock(slots[1])
        assert nights.call("exec", "night")[0] == 0
        _mend(nights, copy)
        check(nights, before)
        for slot in slots:
            _check_that_it_is_known_once(nights, slot)


def _without(nights: Nights, spoil: Callable[[Path], None]) -> None:
    """A night whose database is spoilt; then it is a copy of what it was, and all is known."""
    before, within = look(nights), nights.within
    copy = _copied(nights)
    spoil(nights.home.database_file)
    slot = nights.next_night()
    code, _ = nights.call("exec", "night")
    assert code == 0, nights.said()
    assert nights.call("reconcile")[0] in (0, 1)
    nights.within = ()
    _mend(nights, copy)
    check(nights, before)
    _check_that_it_is_known_once(nights, slot)
    nights.within = within


def _copied(nights: Nights) -> Path:
    copy = nights.ledger.with_name("copy.db")
    copy.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(nights.home.database_file)) as database,
        closing(sqlite3.connect(copy)) as to,
    ):
        database.backup(to)
    return copy


def _mend(nights: Nights, copy: Path) -> None:
    file = nights.home.database_file
    if file.is_dir():
        file.rmdir()
    for side in ("-wal", "-shm"):
        file.with_name(file.name + side).unlink(missing_ok=True)
    shutil.copy(copy, file)


def _check_that_it_is_known_once(nights: Nights, slot) -> None:
    """The slot's run has succeeded, and each metric that it told has been taken up once."""
    (run,) = [run for run in runs_of(nights.home, "night") if run.slot == slot]
    assert (run.state, run.exit_code, run.outcome) == (SUCCEEDED, 0, "paused")
    with closing(sqlite3.connect(nights.home.database_file)) as database:
        query = "SELECT count(*), count(DISTINCT step) FROM metrics WHERE run = ?"
        assert database.execute(query, [run.id]).fetchone() == (STEPS, STEPS)
    assert not list(nights.home.spool_dir.iterdir())
