"""What dashboards read: documented column by column, in epoch seconds, by any tool, any time."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from databases import columns, is_postgresql, plain, plan_of
from recorded_runs import NIGHT, a_run, rows
from sqlalchemy import inspect

from maejobs.home import Home
from maejobs.rundb.database import open_database
from maejobs.rundb.ingest import ingest
from maejobs.rundb.record import set_job, write_run
from maejobs.rundb.run import SUCCEEDED
from maejobs.rundb.samples import ingest_samples

TEXT = (Path(__file__).parents[2] / "docs" / "database.md").read_text(encoding="utf-8")
SECTIONS = {
    section.splitlines()[0]: section for section in TEXT.split("\n## ")[1:] if section[:2] == "v_"
}
QUERIES = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)
(TRANSLATIONS,) = re.findall(r"\n\| SQLite \| PostgreSQL \|\n\|---\|---\|\n((?:\|.*\n)+)", TEXT)
DATASETTE = Path(sys.executable).parent / "datasette"
EVENTS = """\
{"event": "progress", "step": 5, "total": 10, "epoch": 0.5}
{"event": "metric", "name": "loss", "step": 5, "value": 0.25, "time": 1772330500}
{"event": "checkpoint", "path": "c/5", "step": 5, "bytes": 9, "sha256": "a", "time": 1772330600}
{"event": "artifact", "name": "checkpoint_in", "path": "c/step-1", "time": 1772330700}
{"event": "note", "text": "hello", "time": 1772330700}
oops
{"event": "outcome", "status": "completed", "time": 1772330700}
"""
SAMPLE = """\
{"event": "sample", "time": 1772330500, "seconds": 15.5, "cpu": 1.5, "memory": 4096, \
"bytes_read": 1, "bytes_written": 2, "disk_free": 3, "gpu_utilisation": 0.5, "gpu_memory": 4, \
"gpu_power": 99.5, "gpu_temperature": 60}
"""


def documented(view: str) -> dict[str, str]:
    """Column → type, as documented."""
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", SECTIONS[view], re.MULTILINE))


@pytest.fixture
def full(home: Home) -> Home:
    """A home in whose database every column of every view holds something."""
    stream = home.root / "events.jsonl"
    stream.write_text(EVENTS)
    samples = home.root / "samples.jsonl"
    samples.write_text(SAMPLE)
    run = a_run(
        attempt=2,
        retry_of="pretrain-20260301T0200Z-1",
        deadline=NIGHT,
        exit_code=0,
        signal=15,
        peak_memory=2**40,
        cpu_seconds=1.5,
        gpu_seconds=2.5,
        energy=5.5e6,
        gpu_utilisation=0.75,
        peak_gpu_memory=2**36,
        peak_tree_memory=2**41,
        bytes_read=7,
        bytes_written=2**33,
        config_hash="ab",
        revision="maejobs 0",
        reason="because",
        failure_class="exit_code",
        pace="slow",
    )
    with open_database(home) as engine:
        set_job(engine, "pretrain", schedule="0 2 * * *", scheduled_since=NIGHT, paused_since=NIGHT)
        write_run(engine, run)
        ingest(engine, run.id, stream)
        ingest_samples(engine, run.id, samples)
        run.state, run.finished = SUCCEEDED, NIGHT.replace(hour=3)
        write_run(engine, run)
    return home


def test_every_view_is_documented_and_no_other(home):
    with open_database(home) as engine:
        assert set(SECTIONS) == set(inspect(engine).get_view_names())


@pytest.mark.parametrize("view", SECTIONS)
def test_every_column_is_documented_in_its_order_and_no_other(home, view):
    assert list(documented(view)) == columns(home, view)


@pytest.mark.parametrize("view", SECTIONS)
def test_every_column_holds_what_is_documented(full, view):
    kinds = {"text": str, "JSON": str, "integer": int, "bytes": int}
    for found in rows(full, f"SELECT * FROM {view}"):
        for name, kind in documented(view).items():
            assert isinstance(found[name], kinds.get(kind, float)), name
            if kind == "epoch seconds":
                assert NIGHT.timestamp() <= found[name] <= NIGHT.timestamp() + 86400, name


def test_durations_are_seconds(full):
    (run,) = rows(full, "SELECT duration, started, finished FROM v_runs")
    assert run["duration"] == run["finished"] - run["started"] == 3597
    assert rows(full, "SELECT last_duration FROM v_jobs") == [{"last_duration": 3597}]


@pytest.mark.both_databases
def test_no_duration_is_negative_where_the_clock_was_set_back(home):
    run = a_run(state=SUCCEEDED)
    run.finished = run.started - timedelta(hours=1)
    with open_database(home) as engine:
        write_run(engine, run)
    assert rows(home, "SELECT duration FROM v_runs") == [{"duration": None}]
    assert rows(home, "SELECT last_duration FROM v_jobs") == [{"last_duration": None}]


def test_views_show_a_run_only_once_and_all_of_it(full):
    counts = {view: len(rows(full, f"SELECT * FROM {view}")) for view in SECTIONS}
    assert counts == {
        "v_jobs": 1,
        "v_runs": 1,
        "v_metrics": 1,
        "v_checkpoints": 1,
        "v_events": 3,
        "v_samples": 1,
    }


def as_documented(home: Home, query: str) -> str:
    """`query` in the words of the home's database: `x` stands for a column, `N` for a number."""
    if is_postgresql(home):
        for sqlite, postgresql in re.findall(r"\| `(.+)` \| `(.+)` \|\n", TRANSLATIONS):
            pattern = re.sub(r"\bx\b", r"(?P<x>\\w+)", re.escape(sqlite))
            pattern = re.sub(r"\bN\b", r"(?P<N>\\d+)", pattern)
            query = re.sub(pattern, re.sub(r"\b([xN])\b", r"\\g<\1>", postgresql), query)
    return query


@pytest.mark.both_databases
@pytest.mark.parametrize("query", QUERIES)
def test_the_documented_queries_run(full, query):
    query = query.replace("$__from", "0").replace("$__to", "99999999999999")
    rows(full, as_documented(full, query))


def test_what_95_of_100_runs_stay_below_is_told_by_a_look_at_those_days_only(home):
    (query,) = (query for query in QUERIES if "AS p95" in query)
    now = datetime.now(UTC)
    lengths = [7 * n % 20 for n in range(20)]  # 0 to 19, shuffled
    with open_database(home) as engine:
        for days, factor in ((1, 1), (3, 10), (40, 100)):
            midnight = (now - timedelta(days=days)).replace(hour=0, minute=0, second=0)
            for number, length in enumerate(lengths):
                start = midnight + timedelta(minutes=number)
                end = start + timedelta(seconds=length * factor)
                run = a_run(id=f"r-{days}-{number}", slot=None, queued=start, started=start)
                run.state, run.finished = SUCCEEDED, end
                write_run(engine, run)
    found = rows(home, as_documented(home, query))
    assert [round(row["p95"]) for row in found] == [180, 18]
    plan = plan_of(home, as_documented(home, query))
    wanted = (
        r"Index Scan.* ix_runs_queued.*\n +Index Cond: \(queued >= "
        if is_postgresql(home)
        else r"SEARCH runs USING INDEX ix_runs_queued \(queued>\?\)"
    )
    assert re.search(wanted, plan), plan


def test_there_are_documented_queries():
    assert len(QUERIES) >= 4


@contextmanager
def a_busy_writer(home: Home):
    """A thread that writes runs without a pause."""
    stop, written, trouble = threading.Event(), [], []

    def write() -> None:
        try:
            while not stop.is_set():
                with open_database(home) as engine:
                    write_run(engine, run := a_run(job="busy", night=len(written)))
                written.append(run.id)
        except Exception as error:
            trouble.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield written
    finally:
        stop.set()
        writer.join(60)
    assert trouble == []


@pytest.mark.fault
def test_a_plain_reader_sees_whole_runs_while_somebody_writes(full):
    with a_busy_writer(full) as written, plain(full, read_only=True) as reader:
        end = time.monotonic() + 20
        seen = 0
        while len(written) < 20 and time.monotonic() < end:
            known = len(written)
            query = "SELECT count(*) FROM v_runs WHERE started IS NOT NULL"
            (seen,) = reader.execute(query).fetchone()
            assert seen >= known
        assert len(written) >= 20
        with pytest.raises(Exception, match=r"read-?only"):
            reader.execute("DELETE FROM runs")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(url: str, patience: float = 30) -> dict:
    end = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@contextmanager
def datasette(file: Path):
    port = free_port()
    server = subprocess.Popen(
        [DATASETTE, "serve", file, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}/runs"
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.fault
@pytest.mark.sqlite("Datasette reads no other")
def test_datasette_shows_every_view_while_somebody_writes(full):
    with datasette(full.database_file) as url, a_busy_writer(full) as written:
        for view in SECTIONS:
            page = fetch(f"{url}/{view}.json?_shape=objects&job_name=pretrain")
            assert list(page["rows"][0]) == columns(full, view)
        (known,) = fetch(f"{url}/v_runs.json?_shape=objects&run=pretrain-20260301T0200Z-2")["rows"]
        assert known["slot"] == NIGHT.timestamp()
        before = len(written)
        (count,) = fetch(f"{url}.json?sql=select+count(*)+n+from+v_runs&_shape=objects")["rows"]
        assert count["n"] >= before > 0
