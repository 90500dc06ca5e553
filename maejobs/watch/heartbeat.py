"""When reconcile ran: a small file in the home, written anew by each."""

import json
import logging
from datetime import datetime, timedelta
from pathlib import Path

from maejobs.files import write_atomically
from maejobs.home import Home
from maejobs.privilege import acting_as, owner_of
from maejobs.watch.presence import Span, is_trusted, with_sign

_log = logging.getLogger(__name__)


def beat(home: Home, now: datetime, memory: timedelta, dry_run: bool = False) -> list[Span]:
    """Note that reconcile runs; when it did, `now` included, as far back as `memory`.

    What cannot be read has not been; what cannot be written costs the note only.
    """
    file = _file(home)
    spans = with_sign(_read(file), now, memory)
    if dry_run:
        return spans
    text = json.dumps([[start.isoformat(), end.isoformat()] for start, end in spans])
    try:
        with acting_as(owner_of(home.root)):
            write_atomically(file, text.encode())
    except OSError as error:
        _log.debug("%s cannot be written: %s", file, error)
    return spans


def clock_is_trusted(home: Home, now: datetime) -> bool:
    """`is_trusted` by the times at which reconcile ran; where it never did nobody can tell."""
    spans = _read(_file(home))
    return not spans or is_trusted(spans, now)


def _file(home: Home) -> Path:
    return home.root / "reconciled.json"


def _read(file: Path) -> list[Span]:
    try:
        pairs = json.loads(file.read_bytes())
        spans = [Span(*map(datetime.fromisoformat, pair)) for pair in pairs]
    except (OSError, ValueError, TypeError):
        return []
    return [span for span in spans if all(at.tzinfo is not None for at in span)]
