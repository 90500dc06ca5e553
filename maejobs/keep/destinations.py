"""Where copies have gone: a place that held some and is empty now is a disk that is not mounted.

The note lies beside what is copied, not with the copies: they are what would be missed.
"""

import json
import logging
from pathlib import Path

from maejobs.errors import MaejobsError
from maejobs.files import write_atomically

NOTE_NAME = "backed-up-to.json"  # the directories that have held copies, a list
_log = logging.getLogger(__name__)


def require_mounted(note: Path, place: Path, holds_copies: bool) -> None:
    """Raise MaejobsError where `place` has held copies, as far as `note` knows, and does not now.

    Else a disk that is not mounted would be stood in for by the directory below it, night by night.
    """
    if not holds_copies and str(place) in _noted(note):
        raise MaejobsError(
            f"{place}: held copies before and holds none now; is the disk mounted?"
            " If they are gone, run it once with --afresh"
        )


def note_place(note: Path, place: Path) -> None:
    """Remember that `place` holds copies. A full disk forgets it: the copies are good."""
    noted = _noted(note)
    if str(place) in noted:
        return
    try:
        write_atomically(note, json.dumps([*noted, str(place)]).encode())
    except OSError as error:
        _log.warning("%s: that %s holds copies is not noted: %s", note, place, error.strerror)


def _noted(note: Path) -> list[str]:
    try:
        found = json.loads(note.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return [place for place in found if isinstance(place, str)] if isinstance(found, list) else []
