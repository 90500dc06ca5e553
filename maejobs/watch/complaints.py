"""What `reconcile` complains of when cron calls it: told when it begins, not every five minutes."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from maejobs.files import write_atomically
from maejobs.home import Home

_log = logging.getLogger(__name__)


def news(home: Home, complaints: Sequence[str]) -> list[str]:
    """Those of `complaints` that the last call had not; all are noted for the next.

    Where they cannot be noted, on a full disk, say, all are news, every time.
    """
    file = _file(home)
    known = _read(file)
    try:
        if complaints:
            if list(complaints) != known:
                write_atomically(file, json.dumps(list(complaints)).encode())
        else:
            file.unlink(missing_ok=True)
    except OSError as error:
        _log.debug("%s cannot be written: %s", file, error)
    return [complaint for complaint in complaints if complaint not in known]


def _file(home: Home) -> Path:
    return home.root / "complaints.json"


def _read(file: Path) -> list[str]:
    try:
        known = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return []
    return [text for text in known if isinstance(text, str)] if isinstance(known, list) else []
