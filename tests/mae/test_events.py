"""The event stream: well-formed lines where it is asked for, and never a reason to fail."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from mae.errors import BadInput
from mae.train.events import Events
from mae.train.stopping import Paused, Stop


@pytest.fixture
def handlers():
    """Put the signal handlers back."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_event_is_a_line_with_its_time(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv("MAEJOBS_EVENTS", str(path))
    events = Events.from_environment()
    events.progress(1, 10, 0.5)
    events.metric("loss", 1, 0.25)
    events.checkpoint(tmp_path / "c", 1, 99, "ab")
    events.artifact("picture", tmp_path / "p.png")
    monkeypatch.chdir(tmp_path)  # who reads it later is elsewhere
    events.artifact("loss", Path("l.png"))
    events.note("hello")
    events.outcome("paused", "SIGTERM")
    found = lines(path)
    assert all(abs(e.pop("time") - time.time()) < 60 for e in found)
    assert found == [
        {"event": "progress", "step": 1, "total": 10, "epoch": 0.5},
        {"event": "metric", "name": "loss", "step": 1, "value": 0.25},
        {
            "event": "checkpoint",
            "path": str(tmp_path / "c"),
            "step": 1,
            "bytes": 99,
            "sha256": "ab",
        },
        {"event": "artifact", "name": "picture", "path": str(tmp_path / "p.png")},
        {"event": "artifact", "name": "loss", "path": str(tmp_path / "l.png")},
        {"event": "note", "text": "hello"},
        {"event": "outcome", "status": "paused", "reason": "SIGTERM"},
    ]


def test_progress_is_told_once_a_second_but_a_nights_last_step_always(tmp_path):
    events = Events(tmp_path / "e")
    for step in range(1, 8):
        events.progress(step, 10, 0.0, last=step == 7)
    assert [e["step"] for e in lines(tmp_path / "e")] == [1, 7]


def test_others_lines_are_appended_to(tmp_path):
    (tmp_path / "e").write_text('{"event": "theirs"}\n')
    Events(tmp_path / "e").metric("a", 1, 2.0)
    assert [e["event"] for e in lines(tmp_path / "e")] == ["theirs", "metric"]


def test_an_events_file_that_cannot_be_written_stops_nothing(tmp_path, capsys):
    events = Events(tmp_path / "missing" / "events.jsonl")
    events.metric("a", 1, 2.0)
    events.metric("a", 2, 2.0)
    assert capsys.readouterr().err.count("events are lost") == 1


def test_events_go_on_where_there_is_room_again(tmp_path, capsys):
    place = tmp_path / "events"
    events = Events(place / "e")
    events.metric("a", 1, 2.0)
    place.mkdir()
    events.outcome("paused", "deadline")
    assert [e["event"] for e in lines(place / "e")] == ["outcome"]
    place.rename(tmp_path / "away")
    events.metric("a", 2, 2.0)
    assert capsys.readouterr().err.count("events are lost") == 2


def test_a_line_that_was_torn_spoils_no_other(tmp_path, monkeypatch):
    events, write = Events(tmp_path / "e"), os.write
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:9]))
    events.metric("a", 1, 2.0)
    monkeypatch.undo()
    events.outcome("paused", "deadline")
    torn, whole = (tmp_path / "e").read_text().splitlines()
    assert (len(torn), json.loads(whole)["event"]) == (9, "outcome")


@pytest.mark.timeout(10)
def test_a_pipe_that_nobody_reads_keeps_nobody_waiting(tmp_path, capsys):
    os.mkfifo(tmp_path / "e")
    events = Events(tmp_path / "e")
    events.metric("a", 1, 2.0)
    assert "events are lost" in capsys.readouterr().err
    reader = os.open(tmp_path / "e", os.O_RDONLY | os.O_NONBLOCK)
    events.outcome("paused", "deadline")
    assert json.loads(os.read(reader, 999))["status"] == "paused"
    os.close(reader)


def test_without_the_variable_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv("MAEJOBS_EVENTS", raising=False)
    monkeypatch.chdir(tmp_path)
    Events.from_environment().metric("a", 1, 2.0)
    assert list(tmp_path.iterdir()) == []


def test_a_deadline_counts_what_is_still_to_do():
    stop = Stop(deadline=time.time() + 5)
    assert stop.reason() is None
    assert stop.reason(margin=10) == "deadline"
    with pytest.raises(Paused, match="deadline"):
        stop.check(margin=10)


def test_a_clock_that_is_set_moves_no_deadline(monkeypatch):
    stop, now = Stop(deadline=time.time() + 60), time.time()
    for jump in (7200, -7200):
        monkeypatch.setattr(time, "time", lambda jump=jump: now + jump)
        assert (stop.reason(), stop.reason(margin=61)) == (None, "deadline")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_remembered_and_the_second_kills(number, handlers, monkeypatch):
    monkeypatch.delenv("MAEJOBS_DEADLINE", raising=False)
    stop = Stop.listen()
    assert stop.reason() is None
    signal.raise_signal(number)
    assert stop.reason() == number.name
    assert signal.getsignal(number) == signal.SIG_DFL


def test_a_deadline_that_is_no_time_is_named(monkeypatch, handlers):
    monkeypatch.setenv("MAEJOBS_DEADLINE", "nan")
    with pytest.raises(BadInput, match="MAEJOBS_DEADLINE: 'nan'"):
        Stop.listen()
    monkeypatch.setenv("MAEJOBS_DEADLINE", "tomorrow")
    with pytest.raises(BadInput, match="MAEJOBS_DEADLINE: 'tomorrow'"):
        Stop.listen()
