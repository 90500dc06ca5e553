"""Tells the database about a run, and never lets it matter whether the database listens."""

import logging
import time
from contextlib import suppress
from pathlib import Path

from maejobs import clock
from maejobs.files import size_of
from maejobs.home import Home
from maejobs.rundb.database import hurried_database
from maejobs.rundb.directory import keep_record
from maejobs.rundb.events import EVENTS_NAME, Event, read_events
from maejobs.rundb.ingest import ingest_directory
from maejobs.rundb.record import SlotTaken, write_run
from maejobs.rundb.run import UNFINISHED, Run
from maejobs.rundb.samples import SAMPLES_NAME
from maejobs.rundb.spool import forget, spool_run

SAVE_PATIENCE_SECONDS = 10.0  # for a locked database, before and after the command
TICK_PATIENCE_SECONDS = 0.5  # while it runs: a signal must reach the command within a second
TICK_EVERY_SECONDS = 1.0
MOST_OF_A_CORE = 1 / 250  # what taking events up may cost: on a slow host it is done less often
BACK_OFF_SECONDS = 15.0
_log = logging.getLogger(__name__)


class Recorder:
    """Keeps a run's record in its directory and in the database, or spooled for later.

    Whatever is wrong with the database, however unexpected, costs at most the patience.
    """

    def __init__(self, home: Home, run: Run) -> None:
        self._home = home
        self.run = run
        self._directory = Path(run.directory)
        self._events = self._directory / EVENTS_NAME
        self._next_tick = 0.0
        self._streams = (self._events, self._directory / SAMPLES_NAME)
        self._taken_up = [0, 0]  # bytes of them, as far as we know
        self._read = 0  # bytes of the stream, by `new_events`
        self._spooled = False
        self._told: str | None = None  # where we have said that the record is

    def open(self) -> None:
        """Record the run for the first time. Raises SlotTaken where the database has another."""
        self._keep_file()
        if not self._write(SAVE_PATIENCE_SECONDS, aloud=True):
            raise SlotTaken(f"{self.run.job}: {self.run.id} is in the database already")

    def save(self) -> None:
        """Record the run as it now is, its events with it."""
        self._keep_file()
        self._save(SAVE_PATIENCE_SECONDS, aloud=True)

    def save_underway(self) -> None:
        """`save` without making a signal wait: what does not go at once is done in a `tick`."""
        self._keep_file()
        self._save(TICK_PATIENCE_SECONDS)

    def tick(self) -> None:
        """Take new events and samples up into the database, at most once a second."""
        if time.monotonic() < self._next_tick:
            return
        self._next_tick = time.monotonic() + TICK_EVERY_SECONDS
        spent = time.thread_time()
        if self._spooled:
            self._save(TICK_PATIENCE_SECONDS)
            return
        try:
            sizes = [size_of(path) for path in self._streams]
            if sizes == self._taken_up:
                return
            with hurried_database(self._home, TICK_PATIENCE_SECONDS) as engine:
                give_up = time.monotonic() + TICK_PATIENCE_SECONDS
                ingest_directory(engine, self.run.id, self._directory, give_up)
            if time.monotonic() < give_up:
                self._taken_up = sizes
            pause = max((time.thread_time() - spent) / MOST_OF_A_CORE, TICK_EVERY_SECONDS)
            self._next_tick = time.monotonic() + pause
        except Exception as error:
            _log.debug("events of %s not taken up yet: %s", self.run.id, error)
            self._next_tick = time.monotonic() + BACK_OFF_SECONDS

    def new_events(self) -> list[Event]:
        """The events since the last call, read from the stream itself, or some of them."""
        events: list[Event] = []
        give_up = time.monotonic() + TICK_PATIENCE_SECONDS
        try:
            for batch in read_events(self._events, self._read, clock.now()):
                events += batch.events
                self._read = batch.offset
                if time.monotonic() >= give_up:
                    break
        except OSError:
            pass
        return events

    def _save(self, patience: float, aloud: bool = False) -> None:
        try:
            if not self._write(patience, aloud):
                _log.warning("another verdict on %s stands in the database", self.run.id)
        except SlotTaken as error:
            _log.warning("%s is not recorded: %s", self.run.id, error)

    def _write(self, patience: float, aloud: bool) -> bool:
        """Spool, then write to the database; False where the database has another verdict.

        In this order, so that `maejobs reconcile` knows what a supervisor knew that was killed
        while it waited for the database.

        `aloud`: cron is to mail it where that fails. Underway it is only for now, as a rule: many
        jobs of one minute are in each other's way for a moment.
        """
        spooled = self._spool()
        try:
            with hurried_database(self._home, patience) as engine:
                give_up = time.monotonic() + patience
                if self.run.state not in UNFINISHED:  # who reads of the end finds what led to it
                    with suppress(OSError):
                        ingest_directory(engine, self.run.id, self._directory, give_up)
                accepted = write_run(engine, self.run)
                ingest_directory(engine, self.run.id, self._directory, give_up)
            if time.monotonic() < give_up or self.run.state in UNFINISHED:
                forget(self._home.spool_dir, self.run.id)  # else `reconcile` takes up the rest
        except SlotTaken:
            forget(self._home.spool_dir, self.run.id)
            raise
        except Exception as error:
            self._next_tick = time.monotonic() + BACK_OFF_SECONDS
            told = "is spooled" if spooled else "is in its directory only"
            if aloud and told != self._told:
                _log.warning("%s; the record of %s %s", error, self.run.id, told)
                self._told = told
            self._spooled = True
            return True
        self._spooled = False
        return accepted

    def _keep_file(self) -> None:
        try:
            keep_record(self._directory, self.run)
        except OSError as error:
            _log.warning("record of %s could not be written: %s", self.run.id, error)

    def _spool(self) -> bool:
        try:
            spool_run(self._home.spool_dir, self.run)
        except OSError as error:
            _log.debug("%s could not be spooled: %s", self.run.id, error)
            return False
        return True
