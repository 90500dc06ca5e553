"""History trimmed in a real database: what must stay stays, and nobody is kept waiting."""

import json
import threading
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from databases import locked
from recorded_runs import a_run, rows
from sqlalchemy import insert

from maejobs.cron.fires import ZONE_VARIABLE
from maejobs.home import Home
from maejobs.keep.history import HORIZON, Limits
from maejobs.keep.trim import HistoryReport, trim_history
from maejobs.rundb import trimming
from maejobs.rundb.check import find_problems
from maejobs.rundb.database import open_database
from maejobs.rundb.ingest import ingest
from maejobs.rundb.queries import slots_with_runs
from maejobs.rundb.record import ensure_job, set_job, write_run
from maejobs.rundb.run import LOOK_BACK, RUNNING, SUCCEEDED, Run
from maejobs.rundb.schema import events, metadata, runs
from maejobs.rundb.spool import spool_run
from maejobs.watch.reconcile import reconcile

DAY = timedelta(days=1)
NOW = datetime(2026, 3, 1, 2, tzinfo=UTC) + 400 * DAY
EVENTS = """\
{"event": "metric", "name": "loss", "step": 5, "value": 0.25}
{"event": "metric", "name": "loss", "step": 6, "value": 0.20}
{"event": "note", "text": "hello"}
"""


def add(
    home: Home, *nights: int, job: str = "pretrain", stream_text: str = EVENTS, **fields
) -> None:
    stream = home.root / "events.jsonl"
    stream.write_text(stream_text)
    with open_database(home) as engine:
        for night in nights:
            run = a_run(job, night, **{"state": SUCCEEDED} | fields)
            run.finished = None if run.state == RUNNING else run.queued + DAY / 24
            write_run(engine, run)
            ingest(engine, run.id, stream)


def add_at_once(home: Home, past: list[Run], words: str = "") -> None:
    """Many runs that have ended, each with an event that says `words`."""
    defaults = {"state": SUCCEEDED, "events_offset": 0, "broken_events": 0}
    rows = [asdict(run) | defaults | {"finished": run.queued} for run in past]
    event = {"offset": 0, "kind": "note", "body": {"text": words}, "time": NOW}
    with open_database(home) as engine, engine.begin() as connection:
        ensure_job(connection, past[0].job)
        connection.execute(insert(runs), rows)
        connection.execute(insert(events), [event | {"run": run.id} for run in past])


@pytest.fixture(autouse=True)
def the_clock_is_right(monkeypatch):
    """Runs that lie ahead of it would have been noted by one that was not."""
    monkeypatch.setattr("maejobs.clock.now", lambda: NOW)


def add_busy(home: Home, number: int) -> None:
    """Old runs by the thousand, and a young one."""
    old = [replace(a_run("busy"), id=f"old-{n}", attempt=n) for n in range(number)]
    add_at_once(home, old, "x" * 300)
    add(home, 390, job="busy")


def trim(home: Home, *limits, **fields) -> HistoryReport:
    return trim_history(home, NOW, Limits(*limits), None, timedelta(minutes=10), **fields)


def nights_left(home: Home, job: str = "pretrain") -> list[int]:
    first = a_run().slot.timestamp()
    found = rows(home, f"SELECT slot FROM runs WHERE job = '{job}' ORDER BY slot")
    return [round((row["slot"] - first) / 86400) for row in found]


@pytest.mark.both_databases
def test_a_run_goes_with_all_that_belongs_to_it(home):
    add(home, 0, 10, 200, 390)
    report = trim(home, 365 * DAY)
    assert report.runs == {"pretrain": {"older than 365 days": 2}}
    assert nights_left(home) == [200, 390]
    for table in ("metrics", "events"):
        left = {row["run"] for row in rows(home, f"SELECT run FROM {table}")}
        assert left == {a_run(night=200).id, a_run(night=390).id}
    assert find_problems(home) == []


def test_every_table_that_belongs_to_a_run_goes_with_it(home):
    """So that a new table cannot be forgotten."""
    owners = {
        table.name: next(iter(table.c.run.foreign_keys)).ondelete
        for table in metadata.sorted_tables
        if "run" in table.c
    }
    assert {"metrics", "checkpoints", "events"} <= owners.keys()
    assert set(owners.values()) == {"CASCADE"}


def test_series_go_before_their_run_and_only_they(home):
    add(home, 0, 200, 300, 390)
    report = trim(home, None, None, 150 * DAY)
    assert (report.runs, report.series) == ({}, {"pretrain": 2})
    assert nights_left(home) == [0, 200, 300, 390]
    assert len(rows(home, "SELECT * FROM metrics")) == 4
    assert len(rows(home, "SELECT * FROM events")) == 4
    assert trim(home, None, None, 150 * DAY).series == {}


def test_each_job_keeps_its_newest_by_number(home):
    add(home, *range(0, 50, 10))
    add(home, 0, 1, job="rare", stream_text="")
    assert trim(home, None, 2).runs == {"pretrain": {"not of the newest 2": 3}}
    assert nights_left(home) == [30, 40]
    assert nights_left(home, "rare") == [0, 1]


@pytest.mark.both_databases
def test_what_history_cannot_do_without_stays(home, tmp_path):
    there = tmp_path / "step-1"
    there.mkdir()
    kept = json.dumps({"event": "checkpoint", "path": str(there)}) + "\n"
    gone = json.dumps({"event": "checkpoint", "path": str(tmp_path / "step-0")}) + "\n"
    add(home, 0, stream_text=kept)  # rotation has left it
    add(home, 1, stream_text=gone)
    add(home, 2, stream_text=gone)  # the newest that made one
    add(home, 3)
    add(home, 4, state=RUNNING)
    add(home, 5)  # the newest slot
    add(home, 6, slot=None, id="by-hand")
    add(home, 7, slot=None, id="by-hand-2")  # the last run
    spooled = a_run(night=3, id="pretrain-20260304T0200Z-2", attempt=2)
    with open_database(home) as engine:
        write_run(engine, spooled)
    spool_run(home.spool_dir, spooled)
    trim(home, timedelta(0), 0, timedelta(0))
    assert [row["id"] for row in rows(home, "SELECT id FROM runs ORDER BY id")] == sorted(
        [*(a_run(night=night).id for night in (0, 2, 4, 5)), spooled.id, "by-hand-2"]
    )
    assert find_problems(home) == []


def test_a_job_without_newer_runs_keeps_its_last(home):
    add(home, 0, 1, job="yearly")
    trim(home, DAY)
    assert nights_left(home, "yearly") == [1]
    assert rows(home, "SELECT last_state FROM v_jobs") == [{"last_state": SUCCEEDED}]


def test_no_slot_is_missed_anew_for_want_of_its_run(home, monkeypatch):
    """With every limit at nothing, reconcile finds no slot without a run that had one."""
    monkeypatch.setattr("maejobs.clock.now", lambda: NOW)
    monkeypatch.setenv(ZONE_VARIABLE, "Etc/UTC")
    Path(home.crontab).write_text(
        "# BEGIN maejobs block 1\n0 2 * * * /opt/maejobs exec pretrain # maejobs:pretrain\n"
    )
    add_at_once(home, [a_run(night=night) for night in range(300, 400)])
    add(home, 400)
    with open_database(home) as engine:
        set_job(engine, "pretrain", schedule="0 2 * * *", scheduled_since=NOW - 90 * DAY)
        set_job(engine, "pretrain", checked_until=NOW - 90 * DAY)
    trim(home, timedelta(0), 0)
    left = nights_left(home)
    assert left == list(range(400 - HORIZON.days, 401))
    with open_database(home) as engine:
        since = NOW - LOOK_BACK
        assert len(slots_with_runs(engine, "pretrain", since)) == LOOK_BACK.days
    assert reconcile(home, catch_up=False).missed == []


def test_a_dry_run_foretells_and_touches_nothing(home):
    add(home, 0, 10, 200, 300, 390)
    before = rows(home, "SELECT * FROM runs"), rows(home, "SELECT * FROM metrics")
    foretold = trim(home, 365 * DAY, None, 150 * DAY, dry_run=True)
    assert (rows(home, "SELECT * FROM runs"), rows(home, "SELECT * FROM metrics")) == before
    done = trim(home, 365 * DAY, None, 150 * DAY)
    assert (foretold.runs, foretold.series) == (done.runs, done.series)
    assert done.runs["pretrain"] == {"older than 365 days": 2}


@pytest.mark.fault
def test_a_supervisor_s_write_is_never_delayed(home, monkeypatch):
    """Beside the trimming of thousands of runs every write of another gets its turn."""
    add_busy(home, 3000)
    done, nights, trouble = threading.Event(), [], []

    def write() -> None:
        try:
            with open_database(home, busy_timeout=2) as engine:
                while not done.wait(0.005):
                    write_run(engine, a_run("night", night=len(nights)))
                    nights.append(1)
        except Exception as error:
            trouble.append(error)

    bites = []
    bite = trimming._bite
    monkeypatch.setattr(trimming, "_bite", lambda engine: bites.append(1) or bite(engine))
    writer = threading.Thread(target=write)
    writer.start()
    try:
        trim(home, 365 * DAY)
    finally:
        done.set()
        writer.join(60)
    assert trouble == []
    assert rows(home, "SELECT count(*) n FROM runs WHERE job = 'busy'") == [{"n": 1}]
    assert len(bites) >= 3000 / trimming.BITE  # short transactions, and many
    assert len(nights) >= 5  # the other had its turns meanwhile


@pytest.mark.sqlite("PostgreSQL packs itself")
def test_the_database_is_packed_once_nobody_needs_it(home):
    add_busy(home, 3000)
    size = home.database_file.stat().st_size
    add(home, 399, job="other", state=RUNNING)
    other = a_run("other", 399).id
    assert trim(home, 365 * DAY).not_packed == f"{other} is under way"
    soon = trim_history(
        home, NOW, Limits(DAY), NOW + timedelta(minutes=5), timedelta(minutes=10), ourselves=other
    )
    assert soon.not_packed == "a slot is due within 10 minutes"
    assert trim(home, DAY, dry_run=True, ourselves=other).packed is False
    report = trim(home, DAY, ourselves=other)
    assert (report.packed, report.not_packed) == (True, None)
    assert home.database_file.stat().st_size < size / 2
    assert trim(home, DAY, ourselves=other).not_packed == "there is little to gain"
    assert find_problems(home) == []


@pytest.mark.fault
@pytest.mark.sqlite("PostgreSQL packs itself")
def test_a_database_that_somebody_writes_to_is_not_packed(home, monkeypatch):
    monkeypatch.setattr(trimming, "PACKING_PATIENCE_SECONDS", 0.1)
    add_busy(home, 3000)
    assert trim(home, 365 * DAY, dry_run=True).not_packed == "there is little to gain"
    monkeypatch.setattr("maejobs.keep.trim.pack", lambda _: False)
    assert trim(home, 365 * DAY).not_packed == "somebody is writing"
    with locked(home), open_database(home) as engine:
        assert trimming.pack(engine) is False


@pytest.mark.both_databases
def test_pages_hand_out_every_old_run_once_whatever_goes_meanwhile(home, monkeypatch):
    monkeypatch.setattr(trimming, "PAGE", 3)
    add(home, *range(10), stream_text="")
    seen = []
    with open_database(home) as engine:
        for page in trimming.old_runs(engine, "pretrain", NOW):
            seen += [row.id for row in page]
            trimming.delete_runs(engine, [page[0].id])
    assert seen == [a_run(night=night).id for night in range(10)]
