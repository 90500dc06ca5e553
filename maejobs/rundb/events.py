"""The event stream a child writes: JSON lines in, typed events out. Hostile lines are counted."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from maejobs import clock

LONGEST_LINE = 1_000_000  # bytes; a longer line is broken, so a runaway child cannot eat memory
CHUNK = 4_000_000  # bytes read at once
_LARGEST_INTEGER = 2**63 - 1


@dataclass(frozen=True)
class Event:
    """One line: `offset` is its first byte in the file, `body` what else it says."""

    kind: str
    offset: int
    time: datetime
    body: dict[str, Any]

    def integer(self, key: str) -> int | None:
        """The whole number at `key`, if there is one that a database can hold."""
        value = self.body.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if not math.isfinite(value) or abs(value) > _LARGEST_INTEGER:
            return None
        return int(value)

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
        """The text at `key`, without characters that a database refuses."""
        value = self.body.get(key)
        return _storable(value) if isinstance(value, str) else None


@dataclass(frozen=True)
class Batch:
    """Some of a stream: its events, how many lines were broken, and where to go on."""

    events: tuple[Event, ...]
    broken: int
    offset: int


def parse_events(data: bytes, offset: int, now: datetime) -> Batch:
    """The whole lines of `data`, which stands at byte `offset` of its stream.

    A last line without its newline is left for the next time, unless it is too long to be one.
    An event without a usable `time` happened `now`.
    """
    events: list[Event] = []
    broken = 0
    position = 0
    while (end := data.find(b"\n", position)) >= 0:
        line = data[position:end]
        event = _parse_line(line, offset + position, now)
        if event:
            events.append(event)
        elif line.strip():
            broken += 1
        position = end + 1
    if len(data) - position > LONGEST_LINE:
        broken += 1
        position = len(data)
    return Batch(tuple(events), broken, offset + position)


def read_events(path: Path, offset: int, now: datetime) -> Iterator[Batch]:
    """The stream in `path` from byte `offset` on, in batches of bounded size; none if no file."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        while True:
            file.seek(offset)
            batch = parse_events(file.read(CHUNK), offset, now)
            if batch.offset == offset:
                return
            yield batch
            offset = batch.offset


def _parse_line(line: bytes, offset: int, now: datetime) -> Event | None:
    if len(line) > LONGEST_LINE:
        return None
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or not isinstance(data.get("event"), str):
        return None
    kind = _storable(data.pop("event"))
    return Event(kind, offset, _instant(data.pop("time", None), now), data)


def _instant(value: Any, now: datetime) -> datetime:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, UTC) + clock.shift()
        except (ValueError, OverflowError, OSError):
            pass
    return now


def _storable(text: str) -> str:
    return text.replace("\0", "�").encode("utf-8", "replace").decode("utf-8")
