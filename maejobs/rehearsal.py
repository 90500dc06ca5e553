"""A rehearsal: a throw-away home, a crontab that is a file, and lines started as crond would."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from maejobs.cron.block import Entry
from maejobs.cron.fires import ZONE_VARIABLE, fires, scheduling_zone
from maejobs.cron.grammar import parse_expression
from maejobs.cron.schedule import entries_of
from maejobs.cron.target import open_target
from maejobs.errors import MaejobsError, UserError
from maejobs.files import make_private_directory, write_atomically
from maejobs.home import CONFIG_NAME, Home, open_home
from maejobs.launch.process import group_members, signal_group
from maejobs.shipped import shipped

MARK = ".maejobs-rehearsal"  # by this file a directory is known to be ours to delete
CRON_PATH = "/usr/bin:/bin"  # what crond gives a job, and not a directory more (crontab(5))
POLL_SECONDS = 0.5
EVENING = 20  # the hour, on cron's clock, at which a rehearsal begins


@dataclass(frozen=True)
class Stage:
    """A throw-away place: the home, and a directory that the pretended user calls theirs."""

    root: Path

    @property
    def home_dir(self) -> Path:
        return self.root / "home"

    @property
    def user_dir(self) -> Path:
        return self.root / "user"

    def home(self) -> Home:
        return open_home(str(self.home_dir))

    def command(self, *arguments: str) -> list[str]:
        """The installed command on this home."""
        executable = Path(sys.executable).parent / "maejobs"
        return [str(executable), *arguments, "--home", str(self.home_dir)]

    def call(self, *arguments: str) -> None:
        """Run a maejobs command, its output going where ours goes. Raises UserError if it fails."""
        sys.stdout.flush()
        done = subprocess.run(self.command(*arguments), check=False)
        if done.returncode:
            raise UserError(f"`maejobs {' '.join(arguments)}` failed: exit code {done.returncode}")


def check_place(root: Path) -> None:
    """Raises UserError where `root` holds something else than an earlier rehearsal."""
    if not root.exists() or (root / MARK).exists():
        return
    if not root.is_dir() or any(root.iterdir()):
        raise UserError(f"{root} is not empty and not an earlier rehearsal; name another place")


def set_stage(root: Path, night_seconds: int) -> Stage:
    """A fresh stage at `root`; pretraining's nights end after `night_seconds` instead of at six.

    Raises UserError where `root` is something else than an earlier rehearsal, and MaejobsError
    where a shipped job is not what a rehearsal knows how to shorten; `root` is then as it was.
    """
    check_place(root)
    jobs = _shortened_jobs(night_seconds)
    if root.exists():
        shutil.rmtree(root)
    stage = Stage(root)
    for directory in (root, stage.home_dir, stage.user_dir):
        make_private_directory(directory)
    write_atomically(root / MARK, b"")
    set_clock(stage, _evening(datetime.now(UTC)))
    jobs_dir = make_private_directory(stage.home_dir / "jobs.d")
    for name, text in jobs.items():
        write_atomically(jobs_dir / f"{name}.toml", text.encode())
    return stage


def _shortened_jobs(night_seconds: int) -> dict[str, str]:
    """The shipped job files by job, changed to fit nights of seconds."""
    changes = {
        "pretrain": (
            (r'^until = ".*', f'timeout = "{night_seconds}s"'),
            (r'"--data", "auto"', '"--data", "sample"'),
        ),
        # A night of seconds leaves no time for a week of checkpoints: keep fewer.
        "rotate": (
            (r'"--keep-last", "3"', '"--keep-last", "1"'),
            (r'"--daily", "7", "--weekly", "4",', '"--daily", "0",'),
        ),
    }
    files = {path.stem: path for path in sorted(shipped("jobs.d").glob("*.toml"))}
    jobs = {name: path.read_text() for name, path in files.items()}
    for name, replacements in changes.items():
        for pattern, new in replacements:
            jobs[name], count = re.subn(pattern, new, jobs[name], flags=re.MULTILINE)
            if count != 1:
                raise MaejobsError(
                    f"{files[name]}: `{pattern}` is there {count} times, not once:"
                    " a rehearsal cannot make this job fit its short nights"
                )
    return jobs


@dataclass(frozen=True)
class Firing:
    """One moment at which crond would start one line."""

    at: datetime
    entry: Entry


def firings(stage: Stage, nights: int) -> Iterator[Firing]:
    """What crond would start, in order, over the coming `nights`."""
    home, zone, start = stage.home(), scheduling_zone(), _evening(datetime.now(UTC))
    entries = entries_of(open_target(home.crontab).read(), home)
    coming = [
        Firing(fire, entry)
        for entry in entries
        for fire, _ in zip(
            fires(parse_expression(entry.expression), start, zone), range(nights), strict=False
        )
    ]
    return iter(sorted(coming, key=lambda firing: firing.at))


def start_as_cron(stage: Stage, firing: Firing, watch: Callable[[], None]) -> int:
    """Start the line as crond does, the home's clock set to its minute; its exit status.

    `/bin/sh -c`, four variables, the home directory, a pipe for standard input, no terminal. A
    zone that our own daemon has told us is told on, as it does.
    """
    set_clock(stage, firing.at)
    zone = os.environ.get(ZONE_VARIABLE)
    line = firing.entry.command + f" # maejobs:{firing.entry.job}"
    process = subprocess.Popen(
        ["/bin/sh", "-c", line.replace("\\%", "%")],
        env={
            "HOME": str(stage.user_dir),
            "LOGNAME": os.environ.get("LOGNAME", "root"),
            "PATH": CRON_PATH,
            "SHELL": "/bin/sh",
            **({ZONE_VARIABLE: zone} if zone else {}),
        },
        cwd=stage.user_dir,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    with process:
        try:
            while process.poll() is None:
                watch()
                time.sleep(POLL_SECONDS)
        except BaseException:
            # The group: its shell waits for our command, and would leave it alone.
            signal_group(process.pid, signal.SIGTERM)
            while group_members(process.pid):
                time.sleep(POLL_SECONDS)
            raise
    return process.returncode


def _evening(now: datetime) -> datetime:
    """The coming evening, from which on a night is not cut in two by the time of day it is."""
    local = now.astimezone(scheduling_zone())
    return local.replace(hour=EVENING, minute=0, second=0, microsecond=0).astimezone(UTC)


def set_clock(stage: Stage, at: datetime) -> None:
    """Let the home's clock show `at` now, and go on from there."""
    shift = (at - datetime.now(UTC)).total_seconds()
    config = f'crontab = "crontab"\nclock_shift = {shift:.3f}\n'
    write_atomically(stage.home_dir / CONFIG_NAME, config.encode())
