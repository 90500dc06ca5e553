"""PostgreSQL by `database_url`: what is not the same as with SQLite, with a real server."""

import json
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import time_machine
from databases import change, configure, locked
from postgresql import PASSWORD, gone_with_us, rows_of
from recorded_runs import NIGHT, a_run, row, rows
from running import ORDERLY, end_of, python, shell, supervisor, wait_for, wait_until_ready
from sqlalchemy import insert, make_url, select

from maejobs.cron.block import Entry, exec_command, render_block
from maejobs.cron.fires import ZONE_VARIABLE
from maejobs.errors import MaejobsError
from maejobs.home import Home
from maejobs.keep import database_backup
from maejobs.keep.database_backup import back_up_database
from maejobs.keep.history import Limits
from maejobs.keep.trim import trim_history
from maejobs.launch.process import host_name
from maejobs.rundb import database
from maejobs.rundb.check import find_problems
from maejobs.rundb.database import DatabaseUnavailable, open_database
from maejobs.rundb.export import Export
from maejobs.rundb.ingest import ingest
from maejobs.rundb.migrate import upgrade
from maejobs.rundb.queries import find_run
from maejobs.rundb.record import set_job, write_run
from maejobs.rundb.run import SUCCEEDED
from maejobs.rundb.schema import REVISION, jobs
from maejobs.supervise import recorder
from maejobs.watch.reconcile import Findings, reconcile

TELL_ONE_METRIC = """
import os
with open(os.environ["MAEJOBS_EVENTS"], "a") as events:
    print('{"event": "metric", "name": "x", "value": 1}', file=events)
"""


def at(home: Home, url: str) -> Home:
    """The home, with its database at `url`."""
    home = replace(home, configured_database_url=url)
    configure(home)
    return home


@pytest.fixture
def backend() -> str:
    return "postgresql"


def trouble_with(home: Home) -> str:
    with pytest.raises(DatabaseUnavailable) as raised, open_database(home, 0.5) as engine:
        write_run(engine, a_run())
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_what_keeps_a_database_away_is_told_in_a_line(home, bare, postgresql):
    assert "has no tables yet; `maejobs db upgrade` makes them" in trouble_with(bare)
    keyed = postgresql.url("maejobs_template", "keyed").replace("keyed@", "keyed:wrong-one@")
    told = trouble_with(at(home, keyed))
    assert "password authentication failed" in told
    assert "wrong-one" not in told
    with open_database(at(home, keyed.replace("wrong-one", PASSWORD))):
        pass
    change(bare, "CREATE TABLE alembic_version (version_num text)")
    change(bare, "INSERT INTO alembic_version VALUES ('451aebb31d03')")
    assert "alembic_version is another program's (451aebb31d03)" in trouble_with(bare)
    assert '"nowhere" does not exist' in trouble_with(at(home, postgresql.url("nowhere")))
    away = "postgresql://me:secret@127.0.0.1:1/runs"
    told = trouble_with(at(home, away))
    assert "onnection refused" in told
    assert "secret" not in told


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_without_letters_for_everything_is_refused(bare, postgresql, encoding):
    """A record for which it has none would keep all others from being taken up."""
    url = postgresql.new_database(template=None)
    name = make_url(url).database
    postgresql.execute(f"DROP DATABASE {name}")
    postgresql.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'")
    home = at(bare, url)
    told = f"its encoding is {encoding}; make one with ENCODING 'UTF8' TEMPLATE template0"
    assert trouble_with(home).endswith(told)
    with pytest.raises(DatabaseUnavailable, match=encoding):
        upgrade(home)


def test_what_an_account_has_set_changes_no_letter_and_no_digit(home, monkeypatch):
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    name = make_url(home.configured_database_url).database
    with open_raw(home) as connection:
        for setting in ("extra_float_digits = 0", "timezone = 'Asia/Kathmandu'"):
            connection.execute(f"ALTER DATABASE {name} SET {setting}")
    queued = NIGHT + timedelta(microseconds=123457)
    with open_database(home) as engine:
        write_run(engine, a_run(queued=queued, reason="it’s ☃"))
        run = find_run(engine, a_run().id)
    assert (run.queued, run.reason) == (queued, "it’s ☃")


def test_a_connection_is_left_as_it_was_found(home):
    """A pooler (PgBouncer) gives it to another, who cannot prepare what is prepared already."""
    with open_database(home) as engine, engine.begin() as connection:
        some = [{"name": f"job-{n}", "summary": ""} for n in range(20)]
        connection.execute(insert(jobs), some)
        for job in some:
            connection.execute(select(jobs).where(jobs.c.name == job["name"]))
        assert connection.exec_driver_sql("SELECT * FROM pg_prepared_statements").all() == []


def test_who_waited_for_a_writer_sees_what_it_wrote(home):
    """Also where transactions see by default what was there when they began."""
    name = make_url(home.configured_database_url).database
    with open_raw(home) as connection:
        isolation = "default_transaction_isolation = 'repeatable read'"
        connection.execute(f"ALTER DATABASE {name} SET {isolation}")
    with open_database(home) as engine, ThreadPoolExecutor() as beside:
        with locked(home):
            writers = [beside.submit(write_run, engine, a_run()) for _ in range(3)]
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            wait_for(lambda: rows(home, f"{waiting} HAVING count(*) = 3"))
        assert [writer.result() for writer in writers] == [True] * 3


@pytest.mark.fault
def test_a_writer_that_does_not_let_go_is_waited_for_and_then_told_of(home):
    with open_database(home) as engine, engine.begin() as connection:
        connection.exec_driver_sql("SELECT 1")
        assert "lock timeout" in trouble_with(home)
    with open_database(home) as engine:
        assert write_run(engine, a_run())


@pytest.mark.fault
def test_a_run_goes_on_while_the_server_is_away_and_is_taken_up_once(home, write_job, postgresql):
    event = json.dumps({"event": "metric", "name": "x", "value": 1})
    told = f"echo {shlex.quote(event)} >> $MAEJOBS_EVENTS"
    script = f"echo ready; until [ -e {home.root}/go ]; do sleep 0.05; done; {told}"
    write_job("night", shell(script))
    process = supervisor(home, "night")
    wait_until_ready(home, "night")
    wait_for(lambda: rows(home, "SELECT * FROM runs WHERE state = 'running'"))
    postgresql.stop()
    try:
        (home.root / "go").touch()
        assert end_of(process, 90) == 0
        assert [path.suffix for path in home.spool_dir.iterdir()] == [".json"]
        with pytest.raises(DatabaseUnavailable):
            reconcile(home)
    finally:
        postgresql.start()
    assert len(reconcile(home).taken_up) == 1
    assert reconcile(home).taken_up == []
    assert row(home, "SELECT state, exit_code FROM runs") == {"state": SUCCEEDED, "exit_code": 0}
    assert row(home, "SELECT count(*) n FROM metrics") == {"n": 1}


READ_ONLY = "ALTER DATABASE {name} SET default_transaction_read_only = on"
FULL = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file "base/1/2"' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER full_runs BEFORE INSERT OR UPDATE ON runs EXECUTE FUNCTION no_room();
CREATE TRIGGER full_jobs BEFORE INSERT OR UPDATE ON jobs EXECUTE FUNCTION no_room();
"""


@contextmanager
def done(home: Home, statement: str, undo: str) -> Iterator[None]:
    """`statement` on the home's database, and `undo` after it."""
    name = make_url(home.configured_database_url).database
    with open_raw(home) as connection:
        connection.execute(statement.format(name=name))
    yield
    with open_raw(home) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.commit()
        connection.execute(undo.format(name=name))


TROUBLES = {
    "read-only": (
        lambda home: done(home, READ_ONLY, READ_ONLY.replace("= on", "= off")),
        "cannot execute INSERT in a read-only transaction",
    ),
    "full": (
        lambda home: done(home, FULL, "DROP FUNCTION no_room CASCADE"),
        'could not extend file "base/1/2"',
    ),
    "newer": (
        lambda home: done(
            home,
            "UPDATE alembic_version SET version_num = '9999'",
            f"UPDATE alembic_version SET version_num = '{REVISION}'",
        ),
        "is of version 9999, newer than this maejobs",
    ),
    "locked": (partial(locked, how="EXCLUSIVE"), "lock timeout"),
}


@pytest.mark.fault
@pytest.mark.parametrize("kind", TROUBLES)
def test_a_run_goes_on_whatever_is_wrong_with_the_server_s_database(
    home, write_job, monkeypatch, kind
):
    trouble, told = TROUBLES[kind]
    monkeypatch.setattr(recorder, "SAVE_PATIENCE_SECONDS", 0.3)
    write_job("night", python(f"import time\ntime.sleep(1)\n{TELL_ONE_METRIC}"))
    with trouble(home):
        assert end_of(supervisor(home, "night"), 60) == 0
        assert [path.suffix for path in home.spool_dir.iterdir()] == [".json"]
        with pytest.raises(DatabaseUnavailable, match=told):
            reconcile(home, busy_timeout=0.3)
    assert len(reconcile(home).taken_up) == 1
    assert reconcile(home).taken_up == []
    assert row(home, "SELECT state, exit_code FROM runs") == {"state": SUCCEEDED, "exit_code": 0}
    assert row(home, "SELECT count(*) n FROM metrics") == {"n": 1}


@contextmanager
def stuck(home: Home) -> Iterator[None]:
    """As by a disk that does not answer: each session that waits for one of ours is stopped."""
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    stopped: set[int] = set()
    ended = threading.Event()

    def stop() -> None:
        with open_raw(home) as connection:
            connection.autocommit = True
            while not ended.wait(0.02):
                for (pid,) in connection.execute(waiting).fetchall():
                    stopped.add(pid)
                    os.kill(pid, signal.SIGSTOP)

    stopper = threading.Thread(target=stop)
    with locked(home, "EXCLUSIVE"):
        stopper.start()
        try:
            yield
        finally:
            ended.set()
            stopper.join()
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
    assert stopped


@pytest.mark.fault
def test_a_server_that_is_stuck_delays_neither_a_run_nor_its_end_for_long(
    home, write_job, monkeypatch
):
    monkeypatch.setattr(recorder, "SAVE_PATIENCE_SECONDS", 0.7)
    monkeypatch.setattr(database, "ANSWER_SECONDS", 0.3)
    write_job("night", shell(ORDERLY))
    with stuck(home):
        process = supervisor(home, "night")
        try:
            wait_until_ready(home, "night")
            process.send_signal(signal.SIGTERM)
            assert end_of(process) == 1
        finally:
            if process.poll() is None:
                process.kill()
        assert [path.suffix for path in home.spool_dir.iterdir()] == [".json"]
        with pytest.raises(DatabaseUnavailable, match="gave no answer in 1 s"):
            reconcile(home, busy_timeout=0.7)
    reconcile(home)
    assert row(home, "SELECT state FROM runs") == {"state": "cancelled"}


@pytest.mark.fault
def test_a_standby_that_is_away_keeps_no_run_waiting(home, write_job, postgresql):
    """To commit waits for it, and no timeout of the server's ends that."""
    write_job("night", shell("true"))
    name = make_url(home.configured_database_url).database
    postgresql.execute(f"ALTER DATABASE {name} SET synchronous_commit = on")
    postgresql.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    postgresql.execute("SELECT pg_reload_conf()")
    try:
        process = supervisor(home, "night")
        try:
            assert end_of(process, 20) == 0
        finally:
            if process.poll() is None:
                process.kill()
    finally:
        postgresql.execute("ALTER SYSTEM RESET synchronous_standby_names")
        postgresql.execute("SELECT pg_reload_conf()")
    assert row(home, "SELECT state FROM runs") == {"state": SUCCEEDED}


def test_a_session_that_is_killed_leaves_no_server(tmp_path):
    place = tmp_path / "place"
    (place / "data").mkdir(parents=True)
    ready = tmp_path / "ready"
    # Whoever started us may have had us ignore it, as a shell does in the background.
    heed = partial(signal.signal, signal.SIGQUIT, signal.SIG_DFL)
    server = subprocess.Popen(["sleep", "60"], preexec_fn=heed)
    (place / "data" / "postmaster.pid").write_text(f"{server.pid}\n")
    session = os.fork()
    if not session:
        with gone_with_us(place):
            ready.touch()
            signal.pause()
    wait_for(ready.exists)
    os.kill(session, signal.SIGKILL)
    os.waitpid(session, 0)
    assert server.wait(30) == -signal.SIGQUIT
    wait_for(lambda: not place.exists())


def test_what_was_lost_and_what_was_missed_is_found_as_with_sqlite(home, tmp_path, monkeypatch):
    monkeypatch.setenv(ZONE_VARIABLE, "UTC")
    command = exec_command(Path("/opt/maejobs"), "pretrain", home.root)
    Path(home.crontab).write_bytes(render_block([Entry("pretrain", "0 2 * * *", command)]))
    gone = a_run(job="gone", host=host_name(), boot_id="another-boot", directory=str(tmp_path))
    with time_machine.travel(NIGHT - timedelta(hours=1), tick=False):
        reconcile(home)
    with open_database(home) as engine:
        write_run(engine, gone)
        write_run(engine, a_run(night=1, state=SUCCEEDED, finished=NIGHT + timedelta(days=1)))
    with time_machine.travel(NIGHT + timedelta(days=2.5), tick=False):
        found = reconcile(home)
        again = reconcile(home)
    slots = ["pretrain-20260301T0200Z-1", "pretrain-20260303T0200Z-1"]
    assert (found.lost, sorted([*found.missed, *found.unknown])) == ([gone.id], slots)
    assert again == Findings()
    late = a_run(job="gone", state=SUCCEEDED, finished=NIGHT + timedelta(hours=1))
    with open_database(home) as engine:
        assert write_run(engine, late)
    assert rows(home, "SELECT last_state FROM v_jobs WHERE job_name = 'gone'") == [
        {"last_state": SUCCEEDED}
    ]


def test_history_is_trimmed_written_out_and_copied_as_with_sqlite(home, tmp_path, postgresql):
    stream = tmp_path / "events.jsonl"
    stream.write_text('{"event": "metric", "name": "x", "value": 1}\n{"event": "note", "a": [1]}\n')
    with open_database(home) as engine:
        for night in (-300, -299, 0):
            run = a_run(night=night, state=SUCCEEDED)
            run.finished = run.queued
            write_run(engine, run)
            ingest(engine, run.id, stream)
        (event, *_) = [row for part in Export(engine, "events").batches() for row in part]
        assert event["body"] == {"a": [1]}
        assert Export(engine, "runs").count() == 3
    now, quiet = a_run().queued + timedelta(days=100), timedelta(minutes=10)
    report = trim_history(home, now, Limits(timedelta(days=365)), None, quiet)
    assert report.runs == {"pretrain": {"older than 365 days": 2}}
    assert report.not_packed == "PostgreSQL does that itself"
    assert [r["n"] for r in rows(home, "SELECT count(*) n FROM metrics")] == [1]
    assert find_problems(home) == []
    made = back_up_database(home, tmp_path / "b", 3, datetime.now(UTC))
    url = postgresql.new_database(template=None)
    restore = ["pg_restore", "--no-owner", f"--dbname={url}", str(made.path)]
    subprocess.run(restore, check=True, capture_output=True, timeout=60)
    assert rows_of(url, "SELECT run FROM v_runs") == rows(home, "SELECT run FROM v_runs")


def test_a_copy_is_made_from_the_server_that_has_the_database(home, tmp_path, monkeypatch):
    """The second of two, say; or as a service file tells."""
    url = make_url(home.configured_database_url)
    place = url.query["host"]
    service = tmp_path / "services"
    service.write_text(f"[runs]\nhost={place}\nuser=postgres\ndbname={url.database}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    second = f"postgresql://postgres@/{url.database}?host=/nowhere&host={place}"
    for number, named in enumerate([second, "postgres:///?service=runs"]):
        made = back_up_database(at(home, named), tmp_path / f"b{number}", 3, datetime.now(UTC))
        assert made.bytes > 0


def test_a_copy_does_not_wait_for_ever_for_a_table_that_somebody_holds(home, tmp_path, monkeypatch):
    monkeypatch.setattr(database_backup, "BUSY_TIMEOUT_SECONDS", 0.2)
    with open_raw(home) as connection:
        connection.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(MaejobsError, match=r"^pg_dump: error: .* timeout .*LOCK TABLE"):
            back_up_database(home, tmp_path / "b", 3, datetime.now(UTC))


def test_rows_without_parents_cannot_be_but_a_lost_view_is_told(home):
    with open_database(home) as engine:
        set_job(engine, "x", summary="y")
    with open_raw(home) as connection:
        connection.execute("DROP VIEW v_events")
    (problem,) = find_problems(home)
    assert problem.endswith("view v_events is not there")


def open_raw(home: Home):
    import psycopg

    return psycopg.connect(home.configured_database_url)
