"""A run and its database, which may be away, locked, broken or of another time."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from databases import away, bring_back, change, configure, locked, take_away
from recorded_runs import rows
from running import (
    ORDERLY,
    SLOT,
    end_of,
    log_of,
    only_run,
    patient_supervisor,
    python,
    runs_of,
    shell,
    supervisor,
    wait_for,
    wait_until_ready,
)

from maejobs.rundb.directory import read_record
from maejobs.rundb.events import Batch
from maejobs.rundb.run import Run
from maejobs.rundb.schema import REVISION
from maejobs.supervise import recorder
from maejobs.supervise.execute import execute
from maejobs.watch.reconcile import reconcile

MAEJOBS = Path(sys.executable).parent / "maejobs"
EVENTS = (
    '{"event": "progress", "step": 7, "total": 9}\n'
    '{"event": "metric", "name": "loss", "step": 7, "value": 0.5}\n'
    '{"event": "outcome", "status": "completed"}\n'
)
TELLS = shell(f"printf '%s' '{EVENTS}' >> $MAEJOBS_EVENTS; echo worked")
# Tells its step ten times a second, and when it was told to stop.
CHATTY = python(
    "import json, os, signal, sys, time\n"
    "def stop(*_):\n    print('told at', time.time(), flush=True); sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, stop)\n"
    "print('ready', flush=True)\n"
    "for step in range(1000):\n"
    "    with open(os.environ['MAEJOBS_EVENTS'], 'a') as file:\n"
    "        print(json.dumps({'event': 'progress', 'step': step}), file=file)\n"
    "    time.sleep(0.1)\n"
)


def metrics_of(home) -> list[tuple]:
    return [tuple(row.values()) for row in rows(home, "SELECT run, name, value FROM metrics")]


def _first(home):
    return next(iter(runs_of(home, "night")), None)


def spooled(home) -> list[Path]:
    return list(home.spool_dir.glob("*.json"))


@pytest.fixture
def little_patience(monkeypatch):
    monkeypatch.setattr(recorder, "SAVE_PATIENCE_SECONDS", 0.3)


@contextmanager
def another(home):
    """Within it, the database is what somebody puts into the file's place."""
    file = home.database_file
    file.rename(file.with_name("kept"))
    yield file
    if file.is_dir():
        file.rmdir()
    for side in ("-wal", "-shm"):
        file.with_name(file.name + side).unlink(missing_ok=True)
    file.with_name("kept").replace(file)


@contextmanager
def garbage(home):
    with another(home) as file:
        file.write_bytes(b"SQLite format 3\0" + os.urandom(8000))
        yield


@contextmanager
def a_directory(home):
    with another(home) as file:
        file.mkdir()
        yield


@contextmanager
def newer(home):
    change(home, "UPDATE alembic_version SET version_num = '9999'")
    yield
    change(home, f"UPDATE alembic_version SET version_num = '{REVISION}'")


@contextmanager
def without_tables(home):
    tables = ("metrics", "runs")
    change(home, *(f"ALTER TABLE {table} RENAME TO old_{table}" for table in tables))
    yield
    change(home, *(f"ALTER TABLE old_{table} RENAME TO {table}" for table in tables))


IN_ITS_PLACE = pytest.mark.sqlite("puts something else in the place of its file")


@pytest.mark.both_databases
@pytest.mark.parametrize(
    "spoil",
    [
        away,
        newer,
        without_tables,
        pytest.param(garbage, marks=IN_ITS_PLACE),
        pytest.param(a_directory, marks=IN_ITS_PLACE),
    ],
)
def test_a_run_whose_database_is_unusable_succeeds_and_is_taken_up_later_once(
    home, write_job, little_patience, spoil, caplog
):
    write_job("night", TELLS)
    with spoil(home):
        verdict = execute(home, "night", "cron", SLOT)

    assert (verdict.run.state, verdict.exit_code) == ("succeeded", 0)
    assert log_of(home, "night") == "worked\n"
    assert len(spooled(home)) == 1
    assert caplog.text.count("is spooled") == 1  # cron mails what is said: once is enough

    assert reconcile(home).taken_up == [verdict.run.id]
    assert reconcile(home).taken_up == []
    run = only_run(home, "night")
    assert (run.state, run.step, run.outcome) == ("succeeded", 7, "completed")
    assert metrics_of(home) == [(verdict.run.id, "loss", 0.5)]
    assert spooled(home) == []


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_run_under_a_database_locked_all_the_while_succeeds_and_is_taken_up_later(
    home, write_job, little_patience, how
):
    write_job("night", TELLS)

    with locked(home, how):
        before = time.monotonic()
        verdict = execute(home, "night", "cron", SLOT)
        assert time.monotonic() - before < 8

    assert verdict.run.state == "succeeded"
    assert reconcile(home).taken_up == [verdict.run.id]
    assert only_run(home, "night").step == 7
    assert len(metrics_of(home)) == 1


@pytest.mark.sqlite("the disk of its file")
def test_a_database_on_a_read_only_disk_costs_a_run_nothing(home, write_job):
    write_job("night", TELLS)
    database = home.database_file.parent
    script = f"mount --bind {database} {database} && mount -o remount,ro,bind {database} && "
    call = f"{script} exec {MAEJOBS} exec night"
    if subprocess.run(["unshare", "-m", "sh", "-c", script + "true"], check=False).returncode:
        pytest.skip("no private mount namespace here")

    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", call],
        env={"HOME": str(home.root), "PATH": os.environ["PATH"], "MAEJOBS_HOME": str(home.root)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "is spooled" in done.stderr
    (spool,) = spooled(home)
    assert reconcile(home).taken_up == [spool.stem]
    assert only_run(home, "night").state == "succeeded"


def test_a_locked_database_delays_the_start_by_no_more_than_the_patience(
    home, write_job, monkeypatch
):
    monkeypatch.setattr(recorder, "SAVE_PATIENCE_SECONDS", 1.0)
    write_job("night", 'command = ["true"]\n')

    with locked(home):
        run = execute(home, "night", "manual").run

    assert 0.9 < (run.started - run.queued).total_seconds() < 2.5


def test_term_reaches_the_command_within_a_second_of_a_locked_database(home, write_job):
    write_job("night", CHATTY)
    with locked(home):
        process = patient_supervisor(home, "night", 2.0)
        wait_until_ready(home, "night")
        time.sleep(0.1)
        told = time.time()
        process.send_signal(signal.SIGTERM)
        end_of(process)

    heard = float(log_of(home, "night").split("told at")[1])
    assert heard - told < 1.0
    assert reconcile(home).taken_up
    assert only_run(home, "night").state == "cancelled"


def test_a_database_locked_in_the_middle_of_a_run_delays_no_signal(home, write_job):
    write_job("night", CHATTY)
    process = patient_supervisor(home, "night", 1.0)
    wait_until_ready(home, "night")
    with locked(home):
        time.sleep(1.2)  # it tries to take events up by now
        told = time.time()
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: "told at" in log_of(home, "night"))
    end_of(process)

    assert float(log_of(home, "night").split("told at")[1]) - told < 1.0
    assert only_run(home, "night").state == "cancelled"


def test_term_reaches_the_command_within_a_second_of_a_server_that_says_nothing(
    home, write_job, monkeypatch
):
    """The driver waits for two seconds at least to be let in."""
    pytest.importorskip("psycopg")
    monkeypatch.setattr(recorder, "SAVE_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(recorder, "BACK_OFF_SECONDS", 0.1)
    write_job("night", CHATTY)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        url = f"postgresql://me@127.0.0.1:{server.getsockname()[1]}/runs"
        silent = replace(home, configured_database_url=url)
        process = supervisor(silent, "night")
        wait_until_ready(home, "night")
        time.sleep(0.2)
        told = time.time()
        process.send_signal(signal.SIGTERM)
        assert end_of(process) == 1

    (heard,) = log_of(home, "night").split("told at")[1:]
    assert float(heard) - told < 1.0
    assert len(reconcile(home).taken_up) == 1
    assert only_run(home, "night").state == "cancelled"


DEAF_NAMES = "127.0.0.99"  # of this host; nobody else listens there
WITH_THEM = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'


@pytest.mark.skipif(os.getuid() != 0, reason="to have other name servers takes root")
def test_term_reaches_the_command_within_a_second_of_name_servers_that_are_silent(
    home, write_job, tmp_path
):
    """The C library asks them for the database's host, for half a minute, and hears no signal."""
    pytest.importorskip("psycopg")
    names = tmp_path / "resolv.conf"
    names.write_text(f"nameserver {DEAF_NAMES}\noptions timeout:15 attempts:2\n")
    write_job("night", CHATTY)
    silent = replace(home, configured_database_url="postgresql://me@db.example/runs")
    configure(silent)
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind((DEAF_NAMES, 53))
        process = patient_supervisor(
            silent, "night", 0.2, within=["unshare", "-m", "sh", "-c", WITH_THEM, str(names)]
        )
        wait_until_ready(home, "night")
        time.sleep(0.2)
        told = time.time()
        process.send_signal(signal.SIGTERM)
        end_of(process)

    (heard,) = log_of(home, "night").split("told at")[1:]
    assert float(heard) - told < 1.0
    assert len(spooled(home)) == 1


def test_progress_is_in_the_database_while_the_run_goes_on(home, write_job):
    write_job("night", CHATTY)
    process = supervisor(home, "night")
    try:
        run = wait_for(lambda: (run := _first(home)) and run.step and run)
        assert (run.state, process.poll()) == ("running", None)
        wait_for(lambda: only_run(home, "night").step > run.step)
    finally:
        process.send_signal(signal.SIGTERM)
        end_of(process)


def test_progress_is_in_the_database_although_somebody_watches_the_run(home, write_job):
    # Whoever watches reads the stream as well; that once kept events from being taken up.
    write_job("night", shell(f"sleep 0.3; printf '%s' '{EVENTS}' >> $MAEJOBS_EVENTS; sleep 2"))
    seen_in_database = []

    def watch(run: Run, events) -> None:
        if run.state == "running":
            seen_in_database.append(only_run(home, "night").step)

    execute(home, "night", "manual", watch=watch)

    assert seen_in_database[-1] == 7


def test_a_record_kept_back_at_the_start_arrives_while_the_run_goes_on(
    home, write_job, monkeypatch
):
    monkeypatch.setattr(recorder, "BACK_OFF_SECONDS", 0.3)
    write_job("night", CHATTY + 'timeout = "4s"\n')
    states, is_away = [], True
    take_away(home)

    def watch(run: Run, events) -> None:
        nonlocal is_away
        if is_away:
            bring_back(home)
            is_away = False
        else:
            states.extend((r.state, r.step) for r in [_first(home)] if r)

    execute(home, "night", "manual", watch=watch)

    assert states[-1][0] == "running"
    assert states[-1][1] > 0
    assert spooled(home) == []


def test_a_record_is_in_the_runs_own_directory_whatever_becomes_of_the_database(home, write_job):
    write_job("night", shell("sleep 0.1"))
    take_away(home)

    run = execute(home, "night", "manual").run

    assert read_record(Path(run.directory)) == run
    assert json.loads(Path(run.directory, "run.json").read_text())["state"] == "succeeded"


@pytest.mark.both_databases
def test_what_a_run_told_is_in_the_database_before_its_end_is(home, write_job, monkeypatch):
    write = recorder.write_run
    seen: dict[str, str | None] = {}

    def looking(engine, run: Run) -> bool:
        found = rows(home, "SELECT outcome FROM runs")
        seen[run.state] = found[0]["outcome"] if found else None
        return write(engine, run)

    monkeypatch.setattr(recorder, "write_run", looking)
    monkeypatch.setattr(recorder, "TICK_EVERY_SECONDS", 60.0)  # it tells between two ticks
    write_job("night", shell(f"sleep 0.5; printf '%s' '{EVENTS}' >> $MAEJOBS_EVENTS"))
    execute(home, "night", "cron", SLOT)
    assert seen["succeeded"] == "completed"


def test_a_row_is_there_before_the_command_starts(home, write_job):
    # The command itself looks.
    look = (
        "import os\n"
        "from maejobs.home import open_home\n"
        "from maejobs.rundb.database import open_database\n"
        "from maejobs.rundb.queries import find_run\n"
        "with open_database(open_home(None)) as engine:\n"
        "    print(find_run(engine, os.environ['MAEJOBS_RUN_ID']).job)\n"
    )
    write_job("night", python(look))

    assert execute(home, "night", "manual").run.state == "succeeded"
    assert log_of(home, "night") == "night\n"


def test_a_full_disk_costs_the_log_not_the_run(home, write_job):
    # The run's directories on a disk of 64 kB; the command writes more than that.
    out = home.root / "out"
    fill = (
        "import os, sys\n"
        "lost = 0\n"
        "for _ in range(300):\n"
        "    try:\n        os.write(1, b'x' * 1000)\n"
        "    except OSError:\n        lost += 1\n"
        f"open({str(out)!r}, 'w').write(str(lost))\n"
    )
    write_job("night", python(fill))
    mount = f"mount -t tmpfs -o size=64k tmpfs {home.runs_dir}"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], check=False).returncode:
        pytest.skip("no private mount namespace here")

    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"{mount} && exec {MAEJOBS} exec night"],
        env={"HOME": str(home.root), "PATH": os.environ["PATH"], "MAEJOBS_HOME": str(home.root)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert int(out.read_text()) > 200
    run = only_run(home, "night")
    assert (run.state, run.exit_code) == ("succeeded", 0)


def test_a_command_told_to_stop_while_the_database_is_away_is_recorded_later(home, write_job):
    write_job("night", shell(ORDERLY))
    with away(home):
        process = patient_supervisor(home, "night", 0.2)
        wait_until_ready(home, "night")
        process.send_signal(signal.SIGINT)
        end_of(process)

    assert len(reconcile(home).taken_up) == 1
    assert only_run(home, "night").state == "cancelled"


@pytest.mark.fault
def test_a_command_that_floods_its_events_keeps_nobody_taking_them_up(home, write_job, monkeypatch):
    """It writes faster than we take up: whatever was read, there is more."""
    monkeypatch.setattr(recorder, "SAVE_PATIENCE_SECONDS", 0.3)
    write_job("night", TELLS)
    with monkeypatch.context() as patched:
        for room in ("rundb.ingest", "supervise.recorder"):
            patched.setattr(f"maejobs.{room}.read_events", without_end)
        assert execute(home, "night", "manual", watch=lambda *_: None).run.state == "succeeded"
        monkeypatch.setattr("maejobs.watch.reconcile.LONGEST_SECONDS", 0.1)
        assert reconcile(home).taken_up == []
    (record,) = spooled(home)
    monkeypatch.setattr("maejobs.watch.reconcile.LONGEST_SECONDS", 60.0)
    assert reconcile(home).taken_up == [record.stem]
    assert (len(metrics_of(home)), spooled(home)) == (1, [])


def without_end(path, offset, now):
    while True:
        yield Batch((), 0, offset)
        time.sleep(0.01)
