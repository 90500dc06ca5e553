"""kill -9 at random moments: of the supervisor, its command, `reconcile`, whoever writes."""

import json
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from recorded_runs import a_run, row, rows
from running import kill, wait_for

from maejobs.launch.process import host_name
from maejobs.rundb.events import EVENTS_NAME
from maejobs.rundb.run import SUCCEEDED
from maejobs.rundb.spool import spool_run

from .invariants import check, look
from .night import LATE, Nights, child_of
from .table import Table

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3600)]

OF_EACH = 50  # of the four victims, 200 in all
METRICS = 300  # of a spooled run
# Dies right before the nth statement that it sends while it holds the database's write lock; says
# how many it was if it lived.
KILLED_WRITER = """
import os, signal, sys
from sqlalchemy import Engine, event

left = total = int(sys.argv.pop(1))
writing = False

@event.listens_for(Engine, "before_cursor_execute")
def before(connection, cursor, statement, *_):
    global writing, left
    locks = statement.startswith("BEGIN IMMEDIATE") or "pg_advisory_xact_lock" in statement
    writing = writing or locks
    left -= writing
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

@event.listens_for(Engine, "commit")
@event.listens_for(Engine, "rollback")
def after(connection):
    global writing, left
    left -= writing
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    writing = False

sys.argv[0] = "maejobs"
from maejobs.cli import main
try:
    main()
finally:
    with open(os.environ["STATEMENTS"], "w") as file:
        file.write(str(total - left))
"""
WRITER = (sys.executable, "-c", KILLED_WRITER)


def test_of_the_supervisor(nights: Nights, table: Table, chance: random.Random) -> None:
    length = nights.undisturbed()
    for _ in range(table.share(OF_EACH)):
        before = look(nights)
        with table.injection("kill -9 of the supervisor"):
            nights.next_night()
            process = nights.start("exec", "night")
            time.sleep(chance.uniform(0, length))
            process.kill()
            process.wait(90)
            check(nights, before)


def test_of_the_command(nights: Nights, table: Table, chance: random.Random) -> None:
    length = nights.undisturbed()
    for _ in range(table.share(OF_EACH)):
        before = look(nights)
        with table.injection("kill -9 of the command"):
            nights.next_night()
            process = nights.start("exec", "night")
            pid = wait_for(lambda: child_of(process), 60)  # noqa: B023
            time.sleep(chance.uniform(0, length))
            kill(pid, signal.SIGKILL)
            process.wait(90)
            assert process.returncode in (0, 1), nights.said()
            check(nights, before)


def test_of_reconcile(nights: Nights, table: Table, chance: random.Random) -> None:
    nights.undisturbed()
    length = 0.0
    for number in range(table.share(OF_EACH) + 1):
        before = look(nights)
        _leave_work(nights, chance, number)
        began = time.monotonic()
        process = nights.start("reconcile")
        if not number:  # the first is for the length
            process.wait(90)
            length = time.monotonic() - began
            check(nights, before)
            continue
        with table.injection("kill -9 of reconcile"):
            time.sleep(chance.uniform(0, length))
            process.kill()
            process.wait(90)
            check(nights, before)
            _check_spooled(nights, number)


def test_of_the_writer(nights: Nights, table: Table, chance: random.Random) -> None:
    """It holds the database's write lock: the supervisor, or `reconcile` with much to take up."""
    counts = {
        what: _statements(nights, what, chance, number)
        for number, what in enumerate(("exec", "reconcile"))
    }
    print(f"statements under the write lock: {counts}")
    for number in range(2, table.share(OF_EACH) + 2):
        what = ("exec", "reconcile")[number % 2]
        before = look(nights)
        with table.injection(f"kill -9 of {what} as it writes to the database"):
            nth = chance.randint(1, counts[what])
            code = _write(nights, what, chance, number, nth)
            # The moments at which events come differ from night to night, and so the statements.
            assert code in (0, -signal.SIGKILL), nights.said()
            check(nights, before)
            if what == "reconcile":
                _check_spooled(nights, number)


def _leave_work(nights: Nights, chance: random.Random, number: int) -> None:
    """A run whose supervisor was killed, a slot that nobody started, and a record in the spool."""
    nights.next_night()
    process = nights.start("exec", "night")
    wait_for(lambda: child_of(process) or process.poll() is not None, 60)
    time.sleep(chance.uniform(0, 0.3))
    process.kill()
    process.wait(90)
    nights.wait_until_idle()
    missed = nights.next_night()
    run = a_run("spooled", number, state=SUCCEEDED, host=host_name())
    run.finished = run.queued + timedelta(minutes=1)
    directory = nights.home.runs_dir / "spooled" / run.id
    directory.mkdir(parents=True)
    run.directory = str(directory)
    metrics = [{"event": "metric", "name": "loss", "value": value} for value in range(METRICS)]
    (directory / EVENTS_NAME).write_text("".join(json.dumps(m) + "\n" for m in metrics))
    spool_run(nights.home.spool_dir, run)
    nights.set_clock(missed + LATE)


def _check_spooled(nights: Nights, number: int) -> None:
    """The run that was spooled has its row, and each of its events, once."""
    run = a_run("spooled", number).id
    assert row(nights.home, f"SELECT state FROM runs WHERE id = '{run}'") == {"state": SUCCEEDED}
    query = f"""SELECT value FROM metrics WHERE run = '{run}' ORDER BY "offset" """
    assert [found["value"] for found in rows(nights.home, query)] == list(range(METRICS))


def _statements(nights: Nights, what: str, chance: random.Random, number: int) -> int:
    """How many statements it sends while it holds the write lock."""
    assert _write(nights, what, chance, number, 10**9) == 0, nights.said()
    nights.wait_until_idle()
    return int(_statements_file(nights).read_text())


def _write(nights: Nights, what: str, chance: random.Random, number: int, nth: int) -> int:
    if what == "exec":
        nights.next_night()
    else:
        _leave_work(nights, chance, number)
    words = ("exec", "night") if what == "exec" else ("reconcile",)
    file = str(_statements_file(nights))
    process: subprocess.Popen[bytes] = nights.start(
        str(nth), *words, command=WRITER, STATEMENTS=file
    )
    process.wait(90)
    return process.returncode


def _statements_file(nights: Nights) -> Path:
    return nights.ledger.with_name("statements")
