"""A night without its database: locked, read-only, cut, newer, gone, or older than it was."""

import os
import random
import subprocess
import time
from collections.abc import Callable

import pytest
from databases import change, is_postgresql, keep, locked, on_server, restore
from recorded_runs import row
from running import runs_of

from maejobs.home import Home
from maejobs.rundb.run import SUCCEEDED

from .invariants import check, look
from .night import STEPS, Nights
from .table import Table

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3600)]

LENGTHS = 20  # to which the whole table cuts the file
LOCKED_SECONDS = (4.0, 40.0)  # in a share of the table, in the whole
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'


def deleted(home: Home) -> None:
    if is_postgresql(home):
        on_server(home, "DROP DATABASE {name}")
    else:
        home.database_file.unlink()


def newer(home: Home) -> None:
    change(home, "UPDATE alembic_version SET version_num = '9999'")


def garbage(home: Home) -> None:
    home.database_file.write_bytes(b"SQLite format 3\0" + os.urandom(50_000))


def a_directory(home: Home) -> None:
    home.database_file.unlink()
    home.database_file.mkdir()


def read_only(home: Home) -> None:
    """Of PostgreSQL; what SQLite's file is on is read-only to the night's commands alone."""
    if is_postgresql(home):
        on_server(home, "ALTER DATABASE {name} SET default_transaction_read_only = on")


def test_one_that_is_of_no_use(nights: Nights, table: Table, chance: random.Random) -> None:
    ways = [deleted, newer]
    ways += [] if is_postgresql(nights.home) else [garbage, a_directory]
    for spoil in chance.sample(ways, table.share(len(ways))):
        with table.injection(f"database {spoil.__name__.replace('_', ' ')}"):
            _without(nights, spoil)


@pytest.mark.sqlite("cuts its file")
def test_one_that_was_cut(nights: Nights, table: Table, chance: random.Random) -> None:
    nights.undisturbed()
    size = nights.home.database_file.stat().st_size
    edges = [0, 4096, size - 4096]
    lengths = [*edges, *chance.sample(range(1, size), LENGTHS - len(edges))]
    for length in chance.sample(lengths, table.share(LENGTHS)):
        with table.injection("database cut short"):
            _without(nights, lambda home: os.truncate(home.database_file, length))  # noqa: B023


def test_one_that_may_only_be_read(nights: Nights, table: Table) -> None:
    if not is_postgresql(nights.home):
        place = str(nights.home.database_file.parent)
        nights.within = ("unshare", "-m", "sh", "-c", READ_ONLY, place)
        if subprocess.run([*nights.within, "true"], check=False).returncode:
            pytest.skip("no private mount namespace here")
    with table.injection("database read-only"):
        _without(nights, read_only)


def test_one_that_somebody_has_locked(nights: Nights, table: Table) -> None:
    before = look(nights)
    seconds = LOCKED_SECONDS[table.is_whole]
    with table.injection(f"database locked for {seconds:.0f} s"):
        slot = nights.next_night()
        with locked(nights.home, "EXCLUSIVE"):
            began = time.monotonic()
            night = nights.start("exec", "night")
            time.sleep(seconds - (time.monotonic() - began))
        night.wait(90)
        assert night.returncode == 0, nights.said()
        check(nights, before)
        _check_that_it_is_known_once(nights, slot)


def test_one_that_is_a_copy_from_before(nights: Nights, table: Table) -> None:
    nights.undisturbed()
    before = look(nights)
    with table.injection("database an older copy"):
        kept = keep(nights.home, nights.ledger.with_name("copy.db"))
        slots = [nights.next_night() for _ in range(2)]
        nights.set_clock(slots[0])
        assert nights.call("exec", "night")[0] == 0
        nights.set_clock(slots[1])
        assert nights.call("exec", "night")[0] == 0
        restore(nights.home, kept)
        check(nights, before)
        for slot in slots:
            _check_that_it_is_known_once(nights, slot)


def _without(nights: Nights, spoil: Callable[[Home], None]) -> None:
    """A night whose database is spoilt; then it is a copy of what it was, and all is known."""
    before, within = look(nights), nights.within
    kept = keep(nights.home, nights.ledger.with_name("copy.db"))
    spoil(nights.home)
    slot = nights.next_night()
    code, _ = nights.call("exec", "night")
    assert code == 0, nights.said()
    assert nights.call("reconcile")[0] in (0, 1)
    nights.within = ()
    restore(nights.home, kept)
    check(nights, before)
    _check_that_it_is_known_once(nights, slot)
    nights.within = within


def _check_that_it_is_known_once(nights: Nights, slot) -> None:
    """The slot's run has succeeded, and each metric that it told has been taken up once."""
    (run,) = [run for run in runs_of(nights.home, "night") if run.slot == slot]
    assert (run.state, run.exit_code, run.outcome) == (SUCCEEDED, 0, "paused")
    query = f"SELECT count(*) n, count(DISTINCT step) d FROM metrics WHERE run = '{run.id}'"
    assert row(nights.home, query) == {"n": STEPS, "d": STEPS}
    assert not list(nights.home.spool_dir.iterdir())
