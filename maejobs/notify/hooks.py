"""What a run and `reconcile` call: notes for the outbox, and a sender that outlives them.

Nothing here waits for a pager, and nothing raises: whatever goes wrong costs the message only.
What only a home that tells somebody needs is imported late: a run is to start soon.
"""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

from maejobs import clock
from maejobs.errors import MaejobsError, UserError
from maejobs.files import open_plain
from maejobs.home import Home
from maejobs.jobs.load import load_job
from maejobs.jobs.model import Job
from maejobs.launch.detached import start_detached
from maejobs.notify import outbox, unpinged
from maejobs.notify.message import START
from maejobs.notify.pings import LONGEST_BODY, kind_of_end, last_lines, ping
from maejobs.rundb.run import SUCCEEDED, Run

if TYPE_CHECKING:
    from maejobs.notify.settings import Settings

PATIENCE_SECONDS = 2.0  # for a locked database: a later round looks again
P = ParamSpec("P")
_log = logging.getLogger(__name__)


def _harmless(function: Callable[P, None]) -> Callable[P, None]:
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except Exception as error:  # whatever it is, the run is worth more
            _complain(str(error))

    return call


class Herald:
    """Tells of one run: that it has started, and how it ended.

    `follows`: the try before it, if it is another of ours.
    """

    def __init__(
        self, home: Home, job: Job, run: Run, log: Path, follows: str | None = None
    ) -> None:
        self._home = home
        self._job = job
        self._run = run
        self._log = log
        self._follows = follows
        self._senders: list[int] = []
        self.secrets: Sequence[str] = ()

    @_harmless
    def begun(self) -> None:
        """The run is recorded: from here on its end is pinged, even if we are killed before."""
        if ping_url(self._home, self._job):
            unpinged.note(self._home, self._run)
        if self._follows:
            unpinged.forget(self._home, self._follows)

    @_harmless
    def started(self) -> None:
        """The command runs."""
        if url := ping_url(self._home, self._job):
            outbox.put(self._home, ping(START, url, self._run, clock.now()))
            self._send()

    @_harmless
    def tick(self) -> None:
        """Reap the senders that have ended; call it now and then while the command runs."""
        self._senders = [pid for pid in self._senders if not _has_ended(pid)]

    @_harmless
    def ended(self, tried_again: bool) -> None:
        """The run has its verdict; `tried_again`: another try of its slot will follow."""
        if not tried_again:
            settle_if_told(self._home, self._run)
        url = ping_url(self._home, self._job)
        if url:
            kind = kind_of_end(self._run, tried_again)
            log = self._last_lines()
            outbox.put(self._home, ping(kind, url, self._run, clock.now(), log))
        if not tried_again:
            unpinged.forget(self._home, self._run.id)
        if url or (not tried_again and is_news(self._home, self._run)):
            self._send()

    def _last_lines(self) -> str:
        try:
            with open_plain(self._log) as file:
                size = os.fstat(file.fileno()).st_size
                begin = max(size - LONGEST_BODY, 0)
                file.seek(begin)
                data = file.read(LONGEST_BODY)
        except OSError:
            return ""
        return last_lines(data, begin > 0, self._job.notify.log_lines, self.secrets)

    def _send(self) -> None:
        sender = start_sender(self._home)
        if sender is not None:
            self._senders.append(sender)


@_harmless
def ended_without_job(home: Home, run: Run) -> None:
    """The run failed because its job's file is bad, so only the home's settings count."""
    settle_if_told(home, run)
    if is_news(home, run):
        start_sender(home)


@_harmless
def taken_over(home: Home, run_id: str | None) -> None:
    """Another process tries the slot of the run, if it was one, again: the end is its to tell."""
    if run_id:
        unpinged.forget(home, run_id)


@_harmless
def after_reconcile(
    home: Home, settled: Iterable[Run], digest_is_due: Callable[[Home, datetime], bool]
) -> None:
    """The record was set straight: `settled` are runs whose end nobody else has told.

    What `digest_is_due` looks at lies above this room, so it is handed down.
    """
    for run in settled:
        if url := _ping_url_of(home, run.job):
            kind = kind_of_end(run, tried_again=False)
            outbox.put(home, ping(kind, url, run, clock.now()))
        unpinged.forget(home, run.id)
    if (
        not outbox.is_empty(home)
        or _has_changes(home)
        or (_alerts(home) and digest_is_due(home, clock.now()))
    ):
        start_sender(home)


def ping_url(home: Home, job: Job) -> str | None:
    """Where the job's pings go: its own URL, else the home's with the job's name behind it."""
    if job.notify.ping:
        return job.notify.ping
    settings = _settings(home)
    return f"{settings.ping_base}/{job.name}" if settings and settings.ping_base else None


def settle_if_told(home: Home, run: Run) -> None:
    """Let the run be judged though its supervisor lives still. Raises OSError."""
    if run.state != SUCCEEDED and _alerts(home):
        from maejobs.notify.judge import settle

        settle(home, run.id)


def is_news(home: Home, run: Run) -> bool:
    """Whether somebody may have to be told of the run's end."""
    if not _alerts(home):
        return False
    from maejobs.notify.judge import read_told

    return run.state != SUCCEEDED or run.job in read_told(home)


def _has_changes(home: Home) -> bool:
    if not _alerts(home):
        return False
    from maejobs.notify.judge import gone_jobs, judge

    changes = judge(home, clock.now(), PATIENCE_SECONDS, dry_run=True)
    return bool(changes or gone_jobs(home, PATIENCE_SECONDS))


def _alerts(home: Home) -> bool:
    settings = _settings(home)
    return bool(settings and settings.urls)


def _settings(home: Home) -> "Settings | None":
    """The home's settings; None where it has none that can be read."""
    if not home.configured_notify:
        return None
    from maejobs.notify.settings import read_settings

    try:
        return read_settings(home)
    except UserError as error:
        _complain(str(error))
        return None


@cache
def _complain(why: str) -> None:
    """Once: cron mails each line."""
    _log.warning("nobody is told: %s", why)


def start_sender(home: Home) -> int | None:
    """The pid of a process that sends what is due, and whom nobody waits for. Raises OSError.

    None: one that was started before is yet to look at what waits.
    """
    if outbox.is_awaited(home):
        return None
    return start_detached(["notify", "send", "--home", str(home.root)])


def _ping_url_of(home: Home, job: str) -> str | None:
    try:
        return ping_url(home, load_job(home.jobs_dir, job))
    except MaejobsError:
        return None


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
