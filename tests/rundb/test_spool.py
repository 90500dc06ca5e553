"""Records that could not reach the database are taken up later, once each."""

import logging
import signal
import subprocess
import sys

import pytest
from recorded_runs import a_run, at_home, row, rows

from maejobs.rundb import spool
from maejobs.rundb.events import EVENTS_NAME
from maejobs.rundb.record import write_run
from maejobs.rundb.run import LOST, QUEUED, RUNNING, SUCCEEDED
from maejobs.rundb.spool import forget, spool_run, take_up

pytestmark = pytest.mark.both_databases
KILLED_TAKE_UP = """
import os, signal, sys
from pathlib import Path
from maejobs.home import open_home
from maejobs.rundb import spool
from maejobs.rundb.database import open_database
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
home, point = open_home(sys.argv[1]), sys.argv[2]
if point == "before the row":
    spool.write_run = die
elif point == "before the events":
    spool.ingest_directory = die
elif point == "before the record goes":
    Path.rename = die
elif point == "while the record goes":
    Path.unlink = die
with open_database(home) as engine:
    spool.take_up(engine, home.spool_dir)
"""


def spooled(home, *nights: int, **fields) -> None:
    for night in nights:
        run = a_run(night=night, **fields)
        run.directory = str(at_home(home, run.id))
        with (at_home(home, run.id) / EVENTS_NAME).open("w") as events:
            events.write('{"event": "metric", "name": "loss", "value": 1}\n')
        spool_run(home.spool_dir, run)


def left_in(home) -> list[str]:
    return sorted(path.name for path in home.spool_dir.iterdir())


def test_spooled_runs_and_their_events_are_taken_up_once(engine, home):
    spooled(home, 0, 1)
    taken = ["pretrain-20260301T0200Z-1", "pretrain-20260302T0200Z-1"]
    assert take_up(engine, home.spool_dir) == taken
    assert take_up(engine, home.spool_dir) == []
    assert [r["id"] for r in rows(home, "SELECT id FROM runs ORDER BY 1")] == taken
    assert row(home, "SELECT count(*) n FROM metrics") == {"n": 2}
    assert left_in(home) == []


def test_what_a_killed_supervisor_was_about_to_spool_goes(engine, home):
    spooled(home, 0)
    with subprocess.Popen(["true"]) as gone:
        pass
    (home.spool_dir / f".pretrain-20260302T0200Z-1.json.{gone.pid}.tmp").write_text("{")
    assert take_up(engine, home.spool_dir) == ["pretrain-20260301T0200Z-1"]
    assert left_in(home) == []


def test_a_later_record_of_a_run_replaces_the_one_spooled_before(engine, home):
    spooled(home, 0, state=QUEUED)
    spooled(home, 0, state=SUCCEEDED)
    take_up(engine, home.spool_dir)
    assert row(home, "SELECT state FROM runs") == {"state": SUCCEEDED}


def test_a_spooled_success_beats_the_verdict_that_the_run_is_lost(engine, home):
    write_run(engine, a_run(state=LOST))
    spooled(home, 0, state=SUCCEEDED)
    take_up(engine, home.spool_dir)
    assert row(home, "SELECT state FROM runs") == {"state": SUCCEEDED}


def test_a_stale_record_does_not_undo_what_the_database_knows(engine, home):
    write_run(engine, a_run(state=SUCCEEDED))
    spooled(home, 0, state=RUNNING)
    take_up(engine, home.spool_dir)
    assert row(home, "SELECT state FROM runs") == {"state": SUCCEEDED}
    assert left_in(home) == []


def test_a_record_spooled_while_its_forerunner_is_taken_up_is_not_lost(engine, home, monkeypatch):
    spooled(home, 0, state=RUNNING)

    def write_while_the_supervisor_spools(engine, run):
        monkeypatch.setattr(spool, "write_run", write_run)
        spooled(home, 0, state=SUCCEEDED)
        return write_run(engine, run)

    monkeypatch.setattr(spool, "write_run", write_while_the_supervisor_spools)
    assert take_up(engine, home.spool_dir) == ["pretrain-20260301T0200Z-1"]
    assert row(home, "SELECT state FROM runs") == {"state": SUCCEEDED}
    assert left_in(home) == []


def test_a_record_that_the_supervisor_withdraws_meanwhile_is_no_trouble(engine, home, monkeypatch):
    spooled(home, 0, 1)

    def write_while_the_supervisor_succeeds(engine, run):
        forget(home.spool_dir, run.id)
        return write_run(engine, run)

    monkeypatch.setattr(spool, "write_run", write_while_the_supervisor_succeeds)
    take_up(engine, home.spool_dir)
    assert row(home, "SELECT count(*) n FROM runs") == {"n": 2}
    assert left_in(home) == []


def test_records_are_whole_and_private(home):
    spooled(home, 0)
    (path,) = home.spool_dir.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.fault
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"id": 1}',
        b'{"pid": ' + b"9" * 5000 + b"}",
        a_run().to_json().replace('"job": "pretrain"', '"job": ["x"]').encode(),
        a_run(pid=10**30).to_json().encode(),
        a_run(directory="\ud800").to_json().encode(),
    ],
    ids=["empty", "torn", "binary", "deep", "other", "digits", "type", "huge", "surrogate"],
)
def test_an_unreadable_record_is_set_aside_and_the_others_taken_up(engine, home, caplog, content):
    spooled(home, 0)
    (home.spool_dir / "a.json").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert take_up(engine, home.spool_dir) == ["pretrain-20260301T0200Z-1"]
    assert left_in(home) == ["a.unreadable"]
    assert (home.spool_dir / "a.unreadable").read_bytes() == content
    assert "a.unreadable" in caplog.text
    assert take_up(engine, home.spool_dir) == []


def test_events_that_cannot_be_read_keep_no_other_run_from_being_taken_up(engine, home, caplog):
    spooled(home, 0, 1)
    events = at_home(home, "pretrain-20260301T0200Z-1") / EVENTS_NAME
    events.unlink()
    events.symlink_to("/proc/self/mem")  # which fails at the first byte, for root too
    assert take_up(engine, home.spool_dir) == ["pretrain-20260302T0200Z-1"]
    assert "events of pretrain-20260301T0200Z-1 cannot be read" in caplog.text
    assert len(rows(home, "SELECT id FROM runs")) == 2
    events.unlink()
    assert take_up(engine, home.spool_dir) == ["pretrain-20260301T0200Z-1"]
    assert left_in(home) == []


def test_a_second_run_of_a_slot_is_set_aside_as_a_duplicate(engine, home, caplog):
    write_run(engine, a_run(id="the-first"))
    spooled(home, 0, 1)
    assert take_up(engine, home.spool_dir) == ["pretrain-20260302T0200Z-1"]
    assert left_in(home) == ["pretrain-20260301T0200Z-1.duplicate"]
    assert "slot 2026-03-01 02:00 UTC" in caplog.text


@pytest.mark.fault
@pytest.mark.parametrize(
    "point",
    ["before the row", "before the events", "before the record goes", "while the record goes"],
)
def test_a_take_up_killed_half_way_is_simply_done_again(engine, home, point):
    spooled(home, 0, 1, 2)
    script = [sys.executable, "-c", KILLED_TAKE_UP, str(home.root), point]
    killed = subprocess.run(script, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(take_up(engine, home.spool_dir)) == 3
    assert row(home, "SELECT count(*) n FROM runs") == {"n": 3}
    assert row(home, "SELECT count(*) n FROM metrics") == {"n": 3}
    assert left_in(home) == []


@pytest.mark.fault
def test_several_take_ups_at_once_lose_and_double_nothing(home, engine):
    spooled(home, *range(12))
    script = [sys.executable, "-c", KILLED_TAKE_UP, str(home.root), "never"]
    racers = [subprocess.Popen(script) for _ in range(4)]
    assert [racer.wait(60) for racer in racers] == [0] * 4
    assert row(home, "SELECT count(*) n FROM runs") == {"n": 12}
    assert row(home, "SELECT count(*) n FROM metrics") == {"n": 12}
    assert left_in(home) == []
