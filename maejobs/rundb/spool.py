"""Records that could not reach the database: kept whole beside it, taken up later, once each."""

import logging
from pathlib import Path

from sqlalchemy import Engine

from maejobs.files import make_private_directory, write_atomically
from maejobs.rundb.ingest import ingest
from maejobs.rundb.record import SlotTaken, write_run
from maejobs.rundb.run import Run

EVENTS_NAME = "events.jsonl"
_log = logging.getLogger(__name__)


def spool_run(spool_dir: Path, run: Run) -> None:
    """Keep the run's record until `take_up`; a later one of the same run replaces it."""
    make_private_directory(spool_dir)
    write_atomically(_file(spool_dir, run.id), run.to_json().encode())


def forget(spool_dir: Path, run_id: str) -> None:
    """Drop the run's spooled record: the database has it."""
    _file(spool_dir, run_id).unlink(missing_ok=True)


def take_up(engine: Engine, spool_dir: Path) -> list[str]:
    """Bring every spooled run and its events into the database; the runs taken up.

    Writing a run is an upsert by its id and events go by byte offset: a take-up that dies half way
    is simply done again. A record that cannot be read is set aside, not deleted.
    """
    taken: list[str] = []
    for path in sorted(spool_dir.glob("*.json")):
        try:
            run = Run.from_json(path.read_text())
        except (ValueError, OSError) as error:
            _log.warning("spooled record %s cannot be read: %s; set aside", path, error)
            path.rename(path.with_suffix(".unreadable"))
            continue
        try:
            write_run(engine, run)
            ingest(engine, run.id, Path(run.directory) / EVENTS_NAME)
        except SlotTaken as error:
            _log.warning("spooled record %s: %s; set aside", path, error)
            path.rename(path.with_suffix(".duplicate"))
            continue
        path.unlink()
        taken.append(run.id)
    return taken


def _file(spool_dir: Path, run_id: str) -> Path:
    return spool_dir / f"{run_id}.json"
