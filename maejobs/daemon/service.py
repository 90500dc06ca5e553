"""The daemon itself: sleeps to the next minute, starts what is due, reaps, and stops in order."""

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from zoneinfo import ZoneInfo

from maejobs import clock
from maejobs.cron.fires import host_zone, next_fire
from maejobs.cron.target import Target
from maejobs.cron.wakeup import NAP_SECONDS, Due, catch_up, local_minute
from maejobs.daemon import marks
from maejobs.daemon.children import Children
from maejobs.daemon.entries import (
    Entry,
    due_entries,
    read_entries,
    seconds_to_next_minute,
)
from maejobs.errors import MaejobsError
from maejobs.home import Home
from maejobs.launch.process import group_members, signal_group

LONGEST_SLEEP = 10.0  # so that a clock that is set is seen soon
STOP_TICK_SECONDS = 0.2
LAST_SECONDS = 2.0  # for supervisors, to kill what they have started and to record it
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Daemon:
    """One table, one home; `say` gets a line of log."""

    def __init__(
        self, home: Home, target: Target, user: str | None, grace: float, say: Callable[[str], None]
    ) -> None:
        self._home = home
        self._target = target
        self._user = user
        self._grace = grace
        self._say = say
        self._children = Children()
        self._zone = host_zone()
        self._zone_name = self._zone.key if isinstance(self._zone, ZoneInfo) else None
        self._table: bytes | None = None
        self._entries: list[Entry] = []
        self._stops = 0
        self._wakeup = 0

    def run(self) -> None:
        """Schedule until TERM or INT, then stop what runs."""
        self._wakeup, writing = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)
        self._read_table()
        self._start_after_boot()
        seen = self._now()
        virtual = local_minute(seen)
        self._beat()
        while not self._stops:
            now = self._now()
            if now.timestamp() // 60 == seen.timestamp() // 60:
                self._pause(min(LONGEST_SLEEP, seconds_to_next_minute(now)))
                continue
            seen = now
            self._read_table()
            virtual = catch_up(virtual, local_minute(now), self._start_due, self._nap)
            self._beat()
        self._stop()

    def _start_after_boot(self) -> None:
        marker = marks.boot_file(self._home, self._target)
        if not marks.is_new_boot(marker):
            return
        try:
            marks.mark_boot(marker)
        except OSError as error:
            self._say(f"@reboot jobs will start with the next daemon, too: {marker}: {error}")
        self._start([entry for entry in self._entries if entry.expression.reboot])

    def _start_due(self, due: Due) -> bool:
        entries = [] if self._stops else due_entries(self._entries, due)
        self._start(entries)
        return bool(entries)

    def _nap(self) -> int:
        """Sleep between two minutes made up for; gives the minute the clock then shows."""
        latest = time.monotonic() + NAP_SECONDS
        while not self._stops and (left := latest - time.monotonic()) > 0:
            self._pause(left)
        return local_minute(self._now())

    def _now(self) -> datetime:
        return clock.now().astimezone(self._zone)

    def _pause(self, seconds: float) -> None:
        """Sleep, but not beyond a signal; log who ended."""
        select.select([self._wakeup], [], [], max(seconds, 0.001))
        try:
            numbers = os.read(self._wakeup, 4096)
        except BlockingIOError:
            numbers = b""
        if signal.SIGHUP in numbers:
            self._read_table()
        self._stops += sum(number in (signal.SIGTERM, signal.SIGINT) for number in numbers)
        self._reap()

    def _reap(self) -> None:
        for pid, status, entry in self._children.reap():
            how = f"status {status}" if status >= 0 else f"signal {-status}"
            self._say(f"line {entry.number}: process {pid} ended with {how}")

    def _read_table(self) -> None:
        """Take up a table that has changed; one that cannot be read leaves the old one in force."""
        try:
            table = self._target.read() or b""
        except (MaejobsError, OSError) as error:
            self._say(f"the old table stays in force: {error}")
            return
        if table == self._table:
            return
        self._table = table
        self._entries, remarks = read_entries(table, self._target.system)
        self._say(f"{self._target.name}: {len(self._entries)} jobs")
        for remark in remarks:
            self._say(remark)

    def _start(self, entries: list[Entry]) -> None:
        for entry in entries:
            try:
                pid = self._children.start(entry, entry.user or self._user, self._zone_name)
            except (MaejobsError, OSError, ValueError) as error:
                self._say(f"line {entry.number}: cannot be started: {error}")
            else:
                self._say(f"line {entry.number}: process {pid} started: {entry.command!a}")

    def _beat(self) -> None:
        now = clock.now()
        fires = [next_fire(entry.expression, now, self._zone) for entry in self._entries]
        beat = {
            "pid": os.getpid(),
            "at": now.isoformat(),
            "table": self._target.name,
            "entries": len(fires),
            "zone": self._zone_name,
            "next": min((fire.isoformat() for fire in fires if fire), default=None),
        }
        try:
            marks.write_heartbeat(marks.heartbeat_file(self._home, self._target), beat)
        except OSError as error:
            self._say(f"no heartbeat: {error}")

    def _stop(self) -> None:
        """TERM to all that runs, then KILL: when the grace is over, or at the second signal.

        Before that a second TERM, at which a supervisor kills what it has started, in whatever
        session, and records that. KILL would leave its command without anybody.
        """
        groups = self._children.groups()
        self._say(f"stopping; {len(groups)} jobs run")
        groups = self._told_to_stop(groups, self._grace, lambda: self._stops >= 2)
        groups = self._told_to_stop(groups, LAST_SECONDS, lambda: False)
        for group in groups:
            signal_group(group, signal.SIGKILL)
        self._reap()
        with suppress(OSError):
            marks.heartbeat_file(self._home, self._target).unlink(missing_ok=True)

    def _told_to_stop(
        self, groups: set[int], seconds: float, give_up: Callable[[], bool]
    ) -> set[int]:
        """TERM to these groups; those of which somebody is left after so many seconds.

        TERM ends a line's shell at once; its command, a supervisor say, has a record to write.
        """
        for group in groups:
            signal_group(group, signal.SIGTERM)
        latest = time.monotonic() + seconds
        while groups := {group for group in groups if group_members(group)}:
            if give_up() or time.monotonic() >= latest:
                break
            self._pause(min(STOP_TICK_SECONDS, latest - time.monotonic()))
        return groups
