"""Records that could not reach the database: kept whole beside it, taken up later, once each."""

import logging
import math
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Engine

from maejobs.files import make_private_directory, remove_leftovers, write_atomically
from maejobs.rundb.ingest import ingest_directory
from maejobs.rundb.record import SlotTaken, write_run
from maejobs.rundb.run import Run

TAKING = ".taking"  # the suffix of a record that is in the database and about to go
UNREADABLE = ".unreadable"  # that of one that is no record
DUPLICATE = ".duplicate"  # that of one whose slot has another run
_log = logging.getLogger(__name__)


def spool_run(spool_dir: Path, run: Run) -> None:
    """Keep the run's record until `take_up`; a later one of the same run replaces it."""
    make_private_directory(spool_dir)
    write_atomically(_file(spool_dir, run.id), run.to_json().encode())


def forget(spool_dir: Path, run_id: str) -> None:
    """Drop the run's spooled record: the database has it."""
    _file(spool_dir, run_id).unlink(missing_ok=True)


def spooled_runs(spool_dir: Path) -> list[str]:
    """The runs that wait to be taken up."""
    waiting = [*spool_dir.glob("*.json"), *spool_dir.glob(f"*{TAKING}")]
    return sorted({path.stem for path in waiting})


def set_aside(spool_dir: Path) -> list[str]:
    """The names of the records that no `take_up` will look at again: a person has to."""
    return sorted(
        path.name for end in (UNREADABLE, DUPLICATE) for path in spool_dir.glob(f"*{end}")
    )


def take_up(engine: Engine, spool_dir: Path, give_up: float = math.inf) -> list[str]:
    """Bring every spooled run and its events into the database; the runs taken up.

    Where the steady clock (`time.monotonic`) shows `give_up` before, the rest of the events waits
    for the next time, and the record with them.

    Writing a run is an upsert by its id and events go by byte offset: a take-up that dies half way
    is simply done again, and two at once do no harm. A record that cannot be read is set aside,
    not deleted; one whose events cannot be read waits, and keeps no other from being taken up.
    """
    with suppress(OSError):
        remove_leftovers(spool_dir)
    left_half_way = sorted(spool_dir.glob(f"*{TAKING}"))
    paths = [*left_half_way, *sorted(spool_dir.glob("*.json"))]
    return [name for path in paths if (name := _take(engine, path, give_up))]


def _take(engine: Engine, path: Path, give_up: float) -> str | None:
    """Take one record up; its run's id, or None where it was set aside or somebody else did."""
    try:
        text = path.read_text(encoding="utf-8")
        run = Run.from_json(text)
        write_run(engine, run)
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("spooled record %s cannot be read: %s", path, error)
        return None
    except (ValueError, RecursionError) as error:
        _set_aside(path, UNREADABLE, error)
        return None
    except SlotTaken as error:
        _set_aside(path, DUPLICATE, error)
        return None
    try:
        ingest_directory(engine, run.id, Path(run.directory), give_up)
    except OSError as error:
        _log.warning("events of %s cannot be read: %s", run.id, error)
        return None
    if time.monotonic() >= give_up:
        return None  # the rest is taken up next time
    return run.id if _remove(engine, path, text, give_up) else None


def _remove(engine: Engine, path: Path, text: str, give_up: float) -> bool:
    """Remove the record that said `text`, and take up the one that has replaced it meanwhile."""
    claimed = path.with_suffix(TAKING)
    try:
        if path != claimed:
            path.rename(claimed)
            if claimed.read_text(encoding="utf-8") != text:
                return _take(engine, claimed, give_up) is not None
        claimed.unlink()
    except FileNotFoundError:
        return False
    return True


def _set_aside(path: Path, suffix: str, cause: Exception) -> None:
    aside = path.with_suffix(suffix)
    _log.warning("spooled record set aside as %s: %s", aside, cause)
    with suppress(FileNotFoundError):  # somebody else did
        path.rename(aside)


def _file(spool_dir: Path, run_id: str) -> Path:
    return spool_dir / f"{run_id}.json"
