"""Events go into the database once each, whatever happens on the way."""

import json
import os
import random
import signal
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_runs import a_run, row, rows

from maejobs.home import Home
from maejobs.rundb import ingest as ingest_module
from maejobs.rundb.database import open_database
from maejobs.rundb.events import LONGEST_NAME
from maejobs.rundb.ingest import ingest
from maejobs.rundb.migrate import upgrade
from maejobs.rundb.record import write_run

from .test_events import STREAMS

RUN = "pretrain-20260301T0200Z-1"
pytestmark = pytest.mark.both_databases
KILLED_INGEST = """
import os, signal, sys
from pathlib import Path
from maejobs.home import open_home
from maejobs.rundb import events, ingest
from maejobs.rundb.database import open_database
events.CHUNK = events.LONGEST_LINE = 500
left = int(sys.argv[4])
store = ingest._store
def die_after_some(*arguments):
    global left
    store(*arguments)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
ingest._store = die_after_some
with open_database(open_home(sys.argv[1])) as engine:
    ingest.ingest(engine, sys.argv[2], Path(sys.argv[3]))
"""


@pytest.fixture
def stream(engine, home) -> Path:
    write_run(engine, a_run())
    return home.root / "events.jsonl"


def write(stream: Path, *events: dict) -> None:
    with stream.open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


def test_who_comes_second_takes_nothing_up_once_more(engine, home, stream, monkeypatch):
    """Neither an event nor the count of broken lines, which nothing else would give away."""
    write(stream, {"event": "metric", "name": "x", "value": 1})
    with stream.open("a") as file:
        file.write("oops\n")
    read_events = ingest_module.read_events

    def read_after_another(*arguments):
        monkeypatch.setattr(ingest_module, "read_events", read_events)
        assert ingest(engine, RUN, stream) == 1
        return read_events(*arguments)

    monkeypatch.setattr(ingest_module, "read_events", read_after_another)
    assert ingest(engine, RUN, stream) == 0
    assert row(home, "SELECT broken_events FROM runs") == {"broken_events": 1}
    assert row(home, "SELECT count(*) n FROM metrics") == {"n": 1}


def everything(home: Home) -> list:
    kept = "id, step, total_steps, epoch, outcome, reason, checkpoint_in, checkpoint_out"
    return [
        rows(home, f"SELECT {kept}, events_offset, broken_events FROM runs"),
        *(rows(home, f"SELECT * FROM {t} ORDER BY 1, 2") for t in ("metrics", "checkpoints")),
        rows(home, 'SELECT run, "offset", kind, body FROM events ORDER BY 1, 2'),
        rows(home, "SELECT last_outcome, last_reason FROM jobs"),
    ]


def test_each_kind_of_event_finds_its_place(engine, home, stream):
    write(
        stream,
        {"event": "artifact", "name": "checkpoint_in", "path": "c/step-1", "time": 1},
        {"event": "progress", "step": 5, "total": 10, "epoch": 0.5, "time": 2},
        {"event": "metric", "name": "loss", "step": 5, "value": 0.25, "time": 3},
        {"event": "checkpoint", "path": "c/step-5", "step": 5, "bytes": 9, "sha256": "ab"},
        {"event": "note", "text": "hello"},
        {"event": "zap", "x": {"y": [1]}},
        {"event": "outcome", "status": "paused", "reason": "deadline"},
    )
    assert ingest(engine, RUN, stream) == 7
    assert row(
        home,
        "SELECT step, total_steps, epoch, outcome, reason, checkpoint_in, checkpoint_out FROM runs",
    ) == {
        "step": 5,
        "total_steps": 10,
        "epoch": 0.5,
        "outcome": "paused",
        "reason": "deadline",
        "checkpoint_in": "c/step-1",
        "checkpoint_out": "c/step-5",
    }
    assert row(home, "SELECT name, step, value, time FROM metrics") == {
        "name": "loss",
        "step": 5,
        "value": 0.25,
        "time": 3.0,
    }
    assert row(home, "SELECT path, step, bytes, sha256 FROM checkpoints") == {
        "path": "c/step-5",
        "step": 5,
        "bytes": 9,
        "sha256": "ab",
    }
    found = [(r["kind"], json.loads(r["body"])) for r in rows(home, "SELECT * FROM events")]
    assert found == [
        ("artifact", {"name": "checkpoint_in", "path": "c/step-1"}),
        ("note", {"text": "hello"}),
        ("zap", {"x": {"y": [1]}}),
        ("outcome", {"status": "paused", "reason": "deadline"}),
    ]
    assert row(home, "SELECT last_outcome, last_reason FROM jobs") == {
        "last_outcome": "paused",
        "last_reason": "deadline",
    }


def test_what_was_taken_up_is_not_taken_up_again(engine, home, stream):
    write(stream, {"event": "metric", "name": "loss", "value": 1})
    assert (ingest(engine, RUN, stream), ingest(engine, RUN, stream)) == (1, 0)
    write(stream, {"event": "metric", "name": "loss", "value": 2})
    assert ingest(engine, RUN, stream) == 1
    assert [r["value"] for r in rows(home, "SELECT value FROM metrics")] == [1, 2]


def test_a_total_told_once_stays(engine, home, stream):
    write(stream, {"event": "progress", "step": 1, "total": 100}, {"event": "progress", "step": 2})
    ingest(engine, RUN, stream)
    write(stream, {"event": "progress", "epoch": 0.1})
    ingest(engine, RUN, stream)
    assert row(home, "SELECT step, total_steps, epoch FROM runs") == {
        "step": 2,
        "total_steps": 100,
        "epoch": 0.1,
    }


def test_a_metric_without_a_finite_value_is_kept_as_null(engine, home, stream):
    stream.write_text('{"event": "metric", "name": "loss", "value": NaN}\n')
    ingest(engine, RUN, stream)
    assert row(home, "SELECT name, value FROM metrics") == {"name": "loss", "value": None}


def test_metrics_and_checkpoints_without_a_name_are_kept_as_events(engine, home, stream):
    write(stream, {"event": "metric", "value": 1}, {"event": "checkpoint", "path": ["x"]})
    ingest(engine, RUN, stream)
    kinds = [r["kind"] for r in rows(home, "SELECT kind FROM events")]
    assert kinds == ["metric", "checkpoint"]


def test_a_name_too_long_to_be_found_by_is_kept_as_an_event(engine, home, stream):
    """PostgreSQL refuses it in an index, and would refuse all that follows with it."""
    drawn = random.Random(1).choices  # what repeats itself is packed
    longest = "".join(drawn([chr(n) for n in range(0x1F300, 0x1F5FF)], k=LONGEST_NAME))
    names = [longest, "".join(drawn(string.ascii_letters, k=6000))]
    write(stream, *({"event": "metric", "name": name, "value": 1} for name in names))
    ingest(engine, RUN, stream)
    assert [r["name"] for r in rows(home, "SELECT name FROM metrics")] == names[:1]
    assert [json.loads(r["body"])["name"] for r in rows(home, "SELECT body FROM events")] == names[
        1:
    ]


def test_broken_lines_are_counted_on_the_run(engine, home, stream):
    stream.write_text('oops\n{"event": "note"}\nnan\n')
    ingest(engine, RUN, stream)
    assert row(home, "SELECT broken_events FROM runs") == {"broken_events": 2}


def test_a_run_without_events_is_a_perfectly_good_run(engine, home, stream):
    assert ingest(engine, RUN, stream) == 0
    assert ingest(engine, "nobody", stream) == 0


@pytest.fixture(scope="module")
def two_homes(tmp_path_factory) -> tuple[Home, Home]:
    homes = tuple(Home(tmp_path_factory.mktemp("h") / "home") for _ in range(2))
    for home in homes:
        home.create_directories()
        upgrade(home)
    return homes


@settings(deadline=None, max_examples=15)
@given(STREAMS.map(lambda data: data + b"\n"), st.data())
def test_at_once_or_bit_by_bit_the_database_ends_up_the_same(two_homes, data, draw):
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=4)))
    ends = []
    for home, edges in zip(two_homes, ([len(data)], [*cuts, len(data)]), strict=True):
        stream = home.root / "events.jsonl"
        with open_database(home) as engine:
            with engine.begin() as connection:
                for table in ("metrics", "checkpoints", "events", "runs", "jobs"):
                    connection.exec_driver_sql(f"DELETE FROM {table}")
            write_run(engine, a_run())
            for edge in edges:
                stream.write_bytes(data[:edge])
                ingest(engine, RUN, stream)
        state = everything(home)
        for metric in (*state[1], *state[2]):
            metric.pop("time")  # those without a time of their own happened "now"
        ends.append(state)
    assert ends[0] == ends[1]


@pytest.mark.fault
def test_a_kill_between_batches_neither_loses_nor_doubles_an_event(engine, home, stream):
    write(stream, *({"event": "metric", "name": "loss", "value": n} for n in range(100)))
    script = [sys.executable, "-c", KILLED_INGEST, str(home.root), RUN, str(stream)]
    for batches in ("3", "2"):
        killed = subprocess.run([*script, batches], timeout=60, check=False)
        assert killed.returncode == -signal.SIGKILL
    some = len(rows(home, "SELECT * FROM metrics"))
    assert 0 < some < 100
    ingest(engine, RUN, stream)
    assert [r["value"] for r in rows(home, "SELECT value FROM metrics")] == list(range(100))
    assert row(home, "SELECT broken_events, events_offset FROM runs") == {
        "broken_events": 0,
        "events_offset": stream.stat().st_size,
    }


@pytest.mark.fault
def test_several_at_once_take_each_event_up_once(home, engine, stream):
    write(stream, *({"event": "metric", "name": "loss", "value": n} for n in range(100)))
    script = [sys.executable, "-c", KILLED_INGEST, str(home.root), RUN, str(stream), "-1"]
    racers = [subprocess.Popen(script) for _ in range(4)]
    assert [racer.wait(60) for racer in racers] == [0] * 4
    ingest(engine, RUN, stream)
    assert [r["value"] for r in rows(home, "SELECT value FROM metrics")] == list(range(100))


@pytest.mark.fault
def test_a_stream_of_hostile_lines_is_taken_up_to_its_end(engine, home, stream):
    digits = b"9" * 400
    stream.write_bytes(
        b"\n".join(
            [
                b'{"event": "progress", "step": ' + digits + b', "total": NaN}',
                b'{"event": "metric", "name": "a\\u0000\\ud800", "value": ' + digits + b"}",
                b'{"event": "checkpoint", "path": "\\ud800", "bytes": 1e400}',
                b'{"event": "outcome", "status": "\\u0000", "reason": "\\udfff"}',
                b'{"event": "x", "time": 253402300799.99999, "y": ' + b"[" * 45 + b"]" * 45 + b"}",
                b'{"event": "y", "z": ' + b"[" * 900 + b"]" * 900 + b"}",
                b"\x00" * 5000,
                os.urandom(1000).replace(b"\n", b""),
                b'{"event": "end"}',
                b"",
            ]
        )
    )
    assert ingest(engine, RUN, stream) == 6
    assert row(home, "SELECT broken_events, events_offset FROM runs") == {
        "broken_events": 3,
        "events_offset": stream.stat().st_size,
    }
    bodies = [json.loads(r["body"]) for r in rows(home, "SELECT body FROM events")]
    assert len(bodies) == 3
