"""The event stream a child writes: JSON lines in, typed events out. Hostile lines are counted."""

import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from maejobs import clock

EVENTS_NAME = "events.jsonl"  # in the run's directory
PAUSED = "paused"  # the outcome of a campaign's night that stopped at its deadline
GOOD_ENDINGS = frozenset({"completed", PAUSED})  # outcomes of a command that did its work
LONGEST_LINE = 1_000_000  # bytes; a longer line is broken, so a runaway child cannot eat memory
CHUNK = 4_000_000  # bytes read at once
# Of a stream no more is kept on the disk, or read by who comes late: its beginning and its end. The
# supervisor drops the middle as that of a log.
MOST_BYTES = 64_000_000
HEAD_BYTES = MOST_BYTES // 4
TAIL_BYTES = MOST_BYTES - HEAD_BYTES
LONGEST_NAME = 500  # characters; PostgreSQL's index takes 2,704 bytes, with the run's name
DEEPEST = 50  # nested braces and brackets; what nests deeper is broken
_LARGEST_INTEGER = 2**63 - 1
_LATEST = datetime(2200, 1, 1, tzinfo=UTC).timestamp()  # a later `time` is in the wrong unit


@dataclass(frozen=True)
class Event:
    """One line: `offset` is its first byte in the file, `body` what else it says.

    Its texts hold no characters, its floats no values that a database or JSON refuses.
    """

    kind: str
    offset: int
    time: datetime
    body: dict[str, Any]

    def integer(self, key: str) -> int | None:
        """The whole number at `key`, if there is one that a database can hold."""
        value = self.body.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return int(value) if abs(value) <= _LARGEST_INTEGER else None

    def number(self, key: str) -> float | None:
        """The finite number at `key`, if there is one."""
        value = self.body.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None

    def words(self, key: str) -> str | None:
        """The text at `key`."""
        value = self.body.get(key)
        return value if isinstance(value, str) else None

    def metric(self) -> str | None:
        """The name of the metric that this tells a number of, if it is one that can be found by."""
        name = self.words("name") if self.kind == "metric" else None
        return name if name and len(name) <= LONGEST_NAME else None


@dataclass(frozen=True)
class Batch:
    """Some of a stream: its events, how many lines were broken, and where to go on."""

    events: tuple[Event, ...]
    broken: int
    offset: int


def parse_events(
    data: bytes,
    offset: int,
    now: datetime,
    within_line: bool = False,
    wanted: Callable[[bytes], bool] = lambda line: True,
) -> Batch:
    """The whole lines of `data`, which stands at byte `offset` of its stream.

    A last line without its newline is left for the next time, unless it is too long to be one.
    `within_line`: `data` begins amid such a line, already counted; the rest of it is passed over.
    An event without a usable `time` happened `now`. A line that is not `wanted` is passed over.
    """
    events: list[Event] = []
    broken = 0
    position = 0
    if within_line:
        position = data.find(b"\n") + 1 or len(data)
    while (end := data.find(b"\n", position)) >= 0:
        line = data[position:end]
        if not wanted(line):
            position = end + 1
            continue
        event = _parse_line(line, offset + position, now)
        if event:
            events.append(event)
        elif line.strip() or len(line) > LONGEST_LINE:
            broken += 1
        position = end + 1
    if len(data) - position > LONGEST_LINE:
        broken += 1
        position = len(data)
    return Batch(tuple(events), broken, offset + position)


def read_events(
    path: Path, offset: int, now: datetime, wanted: Callable[[bytes], bool] = lambda line: True
) -> Iterator[Batch]:
    """The stream in `path` from byte `offset` on, in batches of bounded size; none if no file.

    What lies between its head and its tail when we come there is passed over, as one broken line.
    """
    if not path.is_file():  # a pipe would block
        return
    with path.open("rb") as file:
        while True:
            begin = _past_the_middle(offset, os.fstat(file.fileno()).st_size)
            passed_over, offset = int(begin > offset), begin
            file.seek(max(offset - 1, 0))
            # Only a line too long to be kept is ever left in its midst.
            within_line = offset > 0 and file.read(1) not in (b"\n", b"")
            batch = parse_events(file.read(CHUNK), offset, now, within_line, wanted)
            if batch.offset == offset and not passed_over:
                return
            yield replace(batch, broken=batch.broken + passed_over)
            offset = batch.offset


def _past_the_middle(offset: int, size: int) -> int:
    """Where to read on in a stream of `size` bytes. A hole never reaches beyond that."""
    return max(offset, size - TAIL_BYTES) if offset >= HEAD_BYTES else offset


def last_outcome(stream: Path) -> str | None:
    """The status of the last outcome that the stream reports; None where there is none."""
    status = None
    try:
        for batch in read_events(stream, 0, clock.now(), _may_be_an_outcome):
            for event in batch.events:
                if event.kind == "outcome":
                    status = event.words("status")
    except OSError:
        return None
    return status


def _may_be_an_outcome(line: bytes) -> bool:
    """Whether it is worth a closer look, which takes eight times as long: there may be millions."""
    return b"outcome" in line or b"\\u" in line


def ended_well(stream: Path) -> bool:
    """Whether the last outcome that the stream reports is a good one."""
    return last_outcome(stream) in GOOD_ENDINGS


def _parse_line(line: bytes, offset: int, now: datetime) -> Event | None:
    if len(line) > LONGEST_LINE:
        return None
    try:
        data = _storable(json.loads(line))
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or not isinstance(data.get("event"), str):
        return None
    kind = data.pop("event")
    return Event(kind, offset, _instant(data.pop("time", None), now), data)


def _instant(value: Any, now: datetime) -> datetime:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LATEST:
        return datetime.fromtimestamp(value, UTC) + clock.shift()
    return now


def _storable(value: Any, depth: int = 0) -> Any:
    """`value` without NUL, lone surrogates, NaN and infinity. Raises ValueError: nests too deep."""
    if depth > DEEPEST:
        raise ValueError("nests too deep")
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_storable(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item, depth + 1) for key, item in value.items()}
    return value
