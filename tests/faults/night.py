"""The night that is hurt: a home, its crontab, a clock that the test sets, and cron's calls."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from databases import configure
from running import wait_for

from maejobs.cli import main
from maejobs.cron.block import Entry, exec_command, render_block
from maejobs.cron.schedule import RECONCILE
from maejobs.home import Home
from maejobs.rundb.directory import RECORD_NAME

MAEJOBS = Path(sys.executable).parent / "maejobs"
STAND_IN = Path(__file__).with_name("stand_in.py")
FIRST = datetime(2027, 1, 1, 2, 0, tzinfo=UTC)
LATE = timedelta(minutes=10)  # by then a slot that nobody started is missed
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
FOREIGN = b"# the wiki's\n17 4 * * 1-5 /usr/local/bin/wiki-backup\n"
STEPS = 30  # of a night
PATIENCE_SECONDS = 90.0  # the machine may be busy
ALWAYS = """
catch_up = "latest"
late_after = "5m"
infrastructure_retries = 0
"""


class Nights:
    """The nights of `home`: its job `night` runs at two. `outside` is a place that no fault hurts.

    `called` are the slots that cron has called for.
    """

    def __init__(self, home: Home, outside: Path) -> None:
        self.home = home
        self.campaign = home.root / "campaign"
        self.campaign.mkdir()
        self.ledger = outside / "ledger"
        self.called: list[datetime] = []
        self.within: Sequence[str | Path] = ()  # what each command is called by, if not directly
        self._number = 0
        self.write_job("{python}", STAND_IN, self.campaign, self.ledger, "{maejobs}", str(STEPS))
        line = exec_command(MAEJOBS, "night", home.root)
        watch = exec_command(MAEJOBS, RECONCILE, home.root)
        entries = [Entry("night", "0 2 * * *", line), Entry(RECONCILE, "*/5 * * * *", watch)]
        Path(home.crontab).write_bytes(FOREIGN + render_block(entries))
        self.set_clock(FIRST - timedelta(hours=1))
        self.reconcile()  # from now on slots can be missed

    def write_job(self, *command: str | Path, more: str = "") -> None:
        """Let the job run `command`; `more` are lines of its file."""
        text = f"command = {json.dumps([str(word) for word in command])}\n{ALWAYS}{more}"
        (self.home.jobs_dir / "night.toml").write_text(text)

    def set_clock(self, at: datetime) -> None:
        """Let the home's clock show `at` now, and go on from there."""
        shift = (at - datetime.now(UTC)).total_seconds()
        configure(self.home, f'crontab = "crontab"\nclock_shift = {shift:.3f}\n')

    def next_night(self) -> datetime:
        """Let it be two o'clock of the next night, and cron have its line; the slot."""
        slot = FIRST + timedelta(days=self._number)
        self._number += 1
        self.called.append(slot)
        self.set_clock(slot + timedelta(seconds=1))
        return slot

    def let_time_pass(self) -> None:
        """Let it be ten minutes later: what was not started is late, what was made is not new."""
        if self.called:
            self.set_clock(self.called[-1] + LATE)
        for directory in self.home.runs_dir.glob("*/*"):
            if not (directory / RECORD_NAME).exists():
                past = directory.stat().st_mtime - LATE.total_seconds()
                os.utime(directory, (past, past))

    def put(self, file: Path, place: str) -> None:
        """From now on commands see `file` at `place`; skips where that cannot be arranged."""
        script = f'mount --bind "$0" {place} && exec "$@"'
        self.within = ("unshare", "-m", "sh", "-c", script, file)
        if subprocess.run([*self.within, "true"], check=False).returncode:
            pytest.skip("no private mount namespace here")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within it, no night's command comes to its end by itself."""
        hold = self.ledger.with_name("hold")
        hold.touch()
        try:
            yield
        finally:
            hold.unlink()

    def start(
        self,
        *arguments: str,
        command: Sequence[str | Path] = (MAEJOBS,),
        output: int = subprocess.DEVNULL,
        **variables: str,
    ) -> "subprocess.Popen[bytes]":
        """`maejobs ARGUMENTS` as cron would start it; what it says goes into `said`."""
        with self._said.open("ab") as said:
            return subprocess.Popen(
                [*self.within, *command, *arguments],
                env=self._environment() | variables,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=said,
                start_new_session=True,
            )

    def call(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of `maejobs ARGUMENTS`."""
        process = self.start(*arguments, output=subprocess.PIPE)
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, output.decode()

    def undisturbed(self) -> float:
        """A night in peace; its length in seconds, from the fork to the end."""
        self.next_night()
        began = time.monotonic()
        code, _ = self.call("exec", "night")
        assert code == 0, self.said()
        return time.monotonic() - began

    def reconcile(self) -> dict[str, list[str]]:
        """What `maejobs reconcile` finds."""
        code, output = (self.call if self.within else self.quickly)("reconcile", "--json")
        assert code == 0, self.said()
        found: dict[str, list[str]] = json.loads(output)
        return found

    def quickly(self, *arguments: str) -> tuple[int, str]:
        """As `call`, by a copy of this process that becomes the command."""
        output = self.ledger.with_name("output")
        if pid := os.fork():
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output.read_text()
        code: object = 99
        try:
            os.environ.clear()
            os.environ.update(self._environment())
            os.chdir("/")
            for descriptor, path in ((0, Path(os.devnull)), (1, output), (2, self._said)):
                flags = os.O_RDWR | os.O_CREAT | (os.O_TRUNC if path == output else os.O_APPEND)
                os.dup2(os.open(path, flags), descriptor)
            sys.stdout, sys.stderr = (os.fdopen(fd, "w", closefd=False) for fd in (1, 2))
            sys.argv = [str(MAEJOBS), *arguments]
            main()
        except SystemExit as left:
            code = left.code
            sys.stdout.flush()
        finally:
            os._exit(code if isinstance(code, int) else 99)

    def _environment(self) -> dict[str, str]:
        root = str(self.home.root)
        return {"HOME": root, "PATH": "/usr/bin:/bin", "TZ": "UTC", "MAEJOBS_HOME": root}

    @property
    def _said(self) -> Path:
        return self.ledger.with_name("said")

    def said(self) -> str:
        """The last that all commands have said on standard error."""
        return self._said.read_text(errors="replace")[-3000:] if self._said.exists() else ""

    def noted(self, word: str) -> list[str]:
        """The runs of which the ledger has `word`."""
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return [run for found, run in map(str.split, lines) if found == word]

    def processes(self) -> list[int]:
        """Every process of this home: supervisors, commands, what those have left behind."""
        mark = f"MAEJOBS_HOME={self.home.root}".encode()
        return [pid for pid in psutil.pids() if pid != os.getpid() and mark in _environment(pid)]

    def wait_until_idle(self) -> None:
        wait_for(lambda: not self.processes(), PATIENCE_SECONDS)


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def child_of(process: "subprocess.Popen[Any]") -> int | None:
    """The process that `process` has started, if it is there."""
    try:
        return next((child.pid for child in psutil.Process(process.pid).children()), None)
    except psutil.NoSuchProcess:
        return None
