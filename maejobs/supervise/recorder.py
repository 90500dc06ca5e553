"""Tells the database about a run, and never lets it matter whether the database listens."""

import logging
import time
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from maejobs import clock
from maejobs.errors import MaejobsError
from maejobs.files import write_atomically
from maejobs.home import Home
from maejobs.rundb.database import open_database
from maejobs.rundb.events import Event, read_events
from maejobs.rundb.ingest import ingest
from maejobs.rundb.record import SlotTaken, write_run
from maejobs.rundb.run import Run
from maejobs.rundb.spool import EVENTS_NAME, forget, spool_run
from maejobs.supervise.claim import RECORD_NAME

SAVE_PATIENCE_SECONDS = 10.0  # for a locked database, before and after the command
INGEST_PATIENCE_SECONDS = 0.5  # while it runs: a signal must reach the command within a second
INGEST_EVERY_SECONDS = 1.0
BACK_OFF_SECONDS = 15.0
_log = logging.getLogger(__name__)


class Recorder:
    """Keeps a run's record in its directory and in the database, or spooled for later."""

    def __init__(self, home: Home, run: Run) -> None:
        self._home = home
        self.run = run
        self._directory = Path(run.directory)
        self._events = self._directory / EVENTS_NAME
        self._next_ingest = 0.0
        self._offset = 0

    def save(self) -> None:
        """Record the run as it now is. Raises SlotTaken only; every other trouble is spooled."""
        self._keep_file()
        try:
            with open_database(self._home, SAVE_PATIENCE_SECONDS) as engine:
                write_run(engine, self.run)
                ingest(engine, self.run.id, self._events)
            forget(self._home.spool_dir, self.run.id)
        except SlotTaken:
            raise
        except (MaejobsError, SQLAlchemyError, OSError) as error:
            self._spool(error)

    def ingest(self) -> None:
        """Take new events up into the database, at most once a second."""
        if time.monotonic() < self._next_ingest:
            return
        self._next_ingest = time.monotonic() + INGEST_EVERY_SECONDS
        try:
            if self._events.stat().st_size == self._offset:
                return
            with open_database(self._home, INGEST_PATIENCE_SECONDS) as engine:
                ingest(engine, self.run.id, self._events)
        except FileNotFoundError:
            return
        except (MaejobsError, SQLAlchemyError, OSError) as error:
            _log.debug("events of %s not taken up yet: %s", self.run.id, error)
            self._next_ingest = time.monotonic() + BACK_OFF_SECONDS

    def new_events(self) -> list[Event]:
        """The events since the last call, read from the stream itself."""
        events: list[Event] = []
        try:
            for batch in read_events(self._events, self._offset, clock.now()):
                events += batch.events
                self._offset = batch.offset
        except OSError:
            pass
        return events

    def _keep_file(self) -> None:
        try:
            write_atomically(self._directory / RECORD_NAME, self.run.to_json().encode())
        except OSError as error:
            _log.warning("record of %s could not be written: %s", self.run.id, error)

    def _spool(self, cause: Exception) -> None:
        try:
            spool_run(self._home.spool_dir, self.run)
            _log.warning("%s; the record of %s is spooled", cause, self.run.id)
        except OSError as error:
            _log.warning("%s; the record of %s could not be spooled: %s", cause, self.run.id, error)
