"""The event stream: JSON lines from a child that may write anything at all."""

import json
import os
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from maejobs.rundb import events as module
from maejobs.rundb.events import (
    LONGEST_LINE,
    Batch,
    Event,
    last_outcome,
    parse_events,
    read_events,
)

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([10**400, -(2**63), 2**63, float("nan"), float("inf"), "\0", "\ud800"]),
        st.floats(),
        st.text(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=6,
)
BODIES = st.dictionaries(
    st.sampled_from(["event", "time", "step", "total", "epoch", "name", "value", "path", "status"]),
    JSON,
)
KINDS = st.sampled_from(["progress", "metric", "checkpoint", "artifact", "note", "outcome", "zap"])
GOOD_LINES = st.tuples(KINDS, BODIES).map(
    lambda pair: json.dumps(pair[1] | {"event": pair[0]}).encode()
)
LINES = st.one_of(
    GOOD_LINES,
    BODIES.map(lambda body: json.dumps(body).encode()),
    st.binary(max_size=40),
    st.sampled_from([b"", b"   ", b"null", b"[]", b"{", b"\xff\xfe{\0", b"\xef\xbb\xbf{}", b"\r"]),
)
STREAMS = st.lists(LINES, max_size=8).map(b"\n".join)


def parsed(data: bytes) -> Batch:
    return parse_events(data, 0, NOW)


def one(text: str) -> Event:
    (event,) = parsed(text.encode() + b"\n").events
    return event


def test_an_event_is_its_kind_its_time_its_place_and_the_rest():
    lines = b'{"event": "note", "time": 1767225600, "text": "a"}\n{"event": "zap", "x": [1]}\n'
    first, second = parsed(lines).events
    assert first == Event("note", 0, datetime(2026, 1, 1, tzinfo=UTC), {"text": "a"})
    assert second == Event("zap", 51, NOW, {"x": [1]})


def test_broken_lines_are_counted_and_the_good_ones_between_them_kept():
    batch = parsed(b'{"event": "a"}\nTraceback:\n[1]\n{"event": 5}\n\n  \r\n{"event": "b"}\n')
    assert [event.kind for event in batch.events] == ["a", "b"]
    assert batch.broken == 3


def test_a_last_line_is_left_until_it_has_its_newline():
    batch = parsed(b'{"event": "a"}\n{"event": "b"')
    assert (len(batch.events), batch.broken, batch.offset) == (1, 0, 15)


@pytest.mark.parametrize(
    "time", ["NaN", "Infinity", "-1", "1e300", "1767225600000", '"now"', "null", "true", "9" * 400]
)
def test_an_event_without_a_usable_time_happened_now(time):
    assert one(f'{{"event": "a", "time": {time}}}').time == NOW


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, '"1"', "true"]
)
def test_what_is_no_number_is_no_metric_s_value(value):
    event = one(f'{{"event": "metric", "value": {value}, "step": {value}}}')
    assert event.number("value") is None
    assert event.integer("step") is None


@pytest.mark.parametrize("step", [2**63, -(2**63), 10**400])
def test_a_step_that_no_database_can_hold_is_none(step):
    assert one(f'{{"event": "progress", "step": {step}}}').integer("step") is None


def test_an_integer_of_thousands_of_digits_is_a_broken_line():
    assert parsed(b'{"event": "a", "x": ' + b"9" * 5000 + b"}\n").broken == 1


def test_texts_are_stored_without_what_databases_refuse():
    event = one('{"event": "note\\u0000", "text": "a\\ud800b", "x": {"\\udfff": ["\\u0000", NaN]}}')
    assert event.kind == "note\ufffd"
    assert event.words("text") == "a?b"
    assert event.body["x"] == {"?": ["\ufffd", None]}


@pytest.mark.parametrize("depth", [60, 900, 100_000])
def test_brackets_nested_too_deeply_are_a_broken_line(depth):
    assert parsed(b'{"event": "a", "x": ' + b"[" * depth + b"]" * depth + b"}\n").broken == 1


def test_a_line_that_is_too_long_is_one_broken_line_and_the_next_one_counts(tmp_path):
    long = b'{"event": "a", "x": "' + b"x" * 3 * LONGEST_LINE + b'"}\n'
    batch = parsed(long + b'{"event": "b"}\n')
    assert (batch.broken, [event.kind for event in batch.events]) == (1, ["b"])


def grown(path, data: bytes, cuts: list[int]) -> tuple[list[Event], int, int]:
    """What comes of a stream that is read each time it has grown by a piece."""
    offset = broken = 0
    events: list[Event] = []
    path.write_bytes(b"")
    edges = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(edges):
        with path.open("ab") as file:
            file.write(data[start:end])
        for batch in read_events(path, offset, NOW):
            events += batch.events
            broken += batch.broken
            offset = batch.offset
    return events, broken, offset


@settings(deadline=None)
@given(STREAMS, st.data())
def test_however_a_stream_is_cut_the_events_are_the_same(tmp_path_factory, data, draw):
    path = tmp_path_factory.getbasetemp() / "stream"
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=5))
    whole = parsed(data)
    assert grown(path, data, cuts) == (list(whole.events), whole.broken, whole.offset)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b'{"event": "a"}', b"x" * 50, b" " * 50, b"zap", b""]), max_size=6),
    st.lists(st.integers(0, 300), max_size=6),
    st.integers(41, 60),
)
@example([b"x" * 29 + b'{"event": "forged"}'], [29], 41)
def test_long_lines_are_counted_once_wherever_they_are_cut(tmp_path_factory, lines, cuts, longest):
    path = tmp_path_factory.getbasetemp() / "long"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LONGEST_LINE", 20)
        patch.setattr(module, "CHUNK", longest)
        data = b"".join(line + b"\n" for line in lines)
        whole = parsed(data)
        cuts = [min(cut, len(data)) for cut in cuts]
        assert grown(path, data, cuts) == (list(whole.events), whole.broken, whole.offset)
        assert [event.kind for event in whole.events] == ["a"] * lines.count(b'{"event": "a"}')


@given(st.one_of(st.binary(), STREAMS), st.integers(0, 2**40))
def test_any_bytes_at_all_are_events_broken_lines_or_a_rest(data, offset):
    batch = parse_events(data, offset, NOW)
    lines = [line for line in data.split(b"\n")[:-1] if line.strip()]
    assert len(batch.events) + batch.broken == len(lines)
    assert batch.offset == offset + data.rfind(b"\n") + 1
    for event in batch.events:
        json.dumps([event.kind, event.body], allow_nan=False).encode()
        str(event.body).encode()  # no lone surrogates
        event.integer("step")
        event.number("value")
        event.words("path")


def test_of_a_stream_without_end_its_head_and_its_tail_are_read(tmp_path, monkeypatch):
    for name, value in (("CHUNK", 1000), ("LONGEST_LINE", 500), ("HEAD_BYTES", 2500)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "TAIL_BYTES", 7500)
    path = tmp_path / "events"
    lines = [b'{"event": "note", "number": %06d}\n' % (n + 100_000) for n in range(3000)]
    path.write_bytes(b"".join(lines))
    batches = list(read_events(path, 0, NOW))
    numbers = [event.integer("number") - 100_000 for batch in batches for event in batch.events]
    head, tail = 3000 // len(lines[0]), 7500 // len(lines[0])
    assert numbers[: head - 30] == list(range(head - 30))
    assert numbers[-tail:] == list(range(3000 - tail, 3000))
    assert len(numbers) < head + tail + 30
    assert (sum(batch.broken for batch in batches), batches[-1].offset) == (1, path.stat().st_size)
    with path.open("ab") as file:  # who keeps up passes nothing over
        file.write(lines[0])
    assert [batch.broken for batch in read_events(path, batches[-1].offset, NOW)] == [0]


def test_no_stream_is_no_events(tmp_path):
    assert list(read_events(tmp_path / "none", 0, NOW)) == []


@pytest.mark.fault
def test_a_pipe_or_a_directory_in_the_stream_s_place_does_not_stop_us(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        assert list(read_events(path, 0, NOW)) == []


@pytest.mark.fault
def test_a_stream_that_has_shrunk_yields_nothing(tmp_path):
    path = tmp_path / "events"
    path.write_bytes(b'{"event": "a"}\n')
    assert list(read_events(path, 500, NOW)) == []


@pytest.mark.parametrize("kind", ["outcome", "outc\\u006fme"])
def test_the_last_outcome_is_found_among_whatever_else_and_however_it_is_written(tmp_path, kind):
    stream = tmp_path / "events.jsonl"
    last = f'{{"event": "{kind}", "status": "paused"}}'
    others = '{"event": "metric", "name": "x", "value": 1}\nno event\n{"event": "note"}\n'
    first = '{"event": "outcome", "status": "completed"}\n'
    stream.write_text(f"{first}{others}{last}\n{others}{{torn")
    assert last_outcome(stream) == "paused"
    assert last_outcome(tmp_path / "none") is None
