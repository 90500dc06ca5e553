"""A run in the foreground, shown by a thread: whoever looks on may stop reading, or go away."""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from queue import Full, Queue
from threading import Thread
from types import TracebackType

from maejobs import clock
from maejobs.cli.output import length, local, relative
from maejobs.cli.screen import Look, Screen
from maejobs.cli.text import on_one_line
from maejobs.cron.fires import host_zone
from maejobs.rundb.directory import LOG_NAME
from maejobs.rundb.events import Event
from maejobs.rundb.run import Run

MOST_WAITING = 100  # looks and words that wait for a reader; what comes then is not shown
SHOWN = ("progress", "metric")  # kinds of events
_log = logging.getLogger(__name__)


class Foreground:
    """Shows what `execute` tells its watcher.

    A pager that is not scrolled, a terminal that is held (Ctrl-S): they make the thread wait, and
    never the run. Only when it has ended and is recorded does the end of a `with` wait for them.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._screen = Screen(quiet)
        self._waiting: Queue[Look | str | None] = Queue(MOST_WAITING)
        self._thread = Thread(target=self._show_all, name="foreground", daemon=True)
        self._last: Look | None = None

    def __enter__(self) -> "Foreground":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._last:
            self._waiting.put(self._last)  # for one that came when there was no room
        self._waiting.put(None)
        self._thread.join()

    def watch(self, run: Run, events: list[Event]) -> None:
        """Show new output and where the run is; at first by when it will have been stopped."""
        newest = {event.kind: event for event in events if event.kind in SHOWN}
        look = Look(run.id, run.job, Path(run.directory) / LOG_NAME, tuple(newest.values()))
        if run.deadline and not (self._last and self._last.run == run.id):
            self.say(f"{run.id} has until {local(run.deadline)}, {relative(run.deadline)}")
        self._last = look
        self._put(look)

    def say(self, text: str) -> None:
        """Show a line of ours."""
        self._put(text)

    def say_waiting(self, run: Run, delay: timedelta) -> None:
        """Show that the run is tried again, and when."""
        why = f" ({on_one_line(run.reason)})" if run.reason else ""
        at = f"{(clock.now() + delay).astimezone(host_zone()):%H:%M:%S}"
        when = f"in {length(delay.total_seconds())}, at {at}"
        self.say(f"{run.id}: {run.state}{why}; tried again {when} (Ctrl-C gives up)")

    def _put(self, shown: Look | str) -> None:
        try:
            self._waiting.put_nowait(shown)
        except Full:
            _log.debug("nobody reads; not shown: %s", shown)

    def _show_all(self) -> None:
        """What the thread does until it is told that there is no more."""
        self._try(self._screen.open)
        while (shown := self._waiting.get()) is not None:
            if isinstance(shown, str):
                with suppress(OSError):
                    self._screen.say(shown)
            else:
                self._try(partial(self._screen.show, shown))
        self._try(self._screen.close)

    def _try(self, action: Callable[[], None]) -> None:
        if self._quiet:
            return
        try:
            action()
        except Exception as error:  # the reader of a pipe (`| head`) or the terminal is gone, say
            _log.debug("no longer shown: %s", error)
            self._quiet = True
