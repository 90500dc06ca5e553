"""Who starts the table's jobs, and whether cron lets the user have a table at all."""

import grp
import stat
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from maejobs.cron.block import Entry
from maejobs.cron.schedule import OPTION, command_words
from maejobs.cron.target import Target
from maejobs.daemon.alone import is_served, running_cron
from maejobs.daemon.marks import heartbeat_file, read_heartbeat
from maejobs.home import Home

ALLOW, DENY = Path("/etc/cron.allow"), Path("/etc/cron.deny")
CRON_GROUP = "crontab"
LATE = timedelta(minutes=3)  # it beats each minute
NONE_RUNS = "no cron daemon runs; `service cron start` starts Debian's, `maejobs daemon` ours"


def schedulers(target: Target, is_file: bool) -> list[str]:
    """In words, each scheduler that runs for the table; cron reads no table that `is_file`."""
    running = ["maejobs daemon runs"] if is_served(target) else []
    if not is_file and (pid := running_cron()):
        running.append(f"cron runs (pid {pid})")
    return running


def stale_heartbeat(home: Home, target: Target, now: datetime) -> str | None:
    """What is wrong with the heartbeat of a daemon that runs, in words; None: nothing."""
    at = read_heartbeat(heartbeat_file(home, target))
    if at is None:
        return "it leaves no heartbeat in this home; another home's daemon may serve the table"
    return f"its last heartbeat is of {at:%Y-%m-%d %H:%M} UTC" if now - at > LATE else None


def kept_out(user: str, allow: Path = ALLOW, deny: Path = DENY) -> str | None:
    """Why cron gives `user` no table, or None. cron.deny counts where there is no cron.allow.

    Root may always. A list that the group `crontab` cannot read keeps out everybody, as seen with
    Debian's 3.0pl1; one that only we cannot read tells nothing.
    """
    if user == "root":
        return None
    listed = allow if allow.exists() else deny
    if not listed.exists():
        return None
    if not _readable_by_cron(listed):
        return f"{listed} cannot be read by the group {CRON_GROUP}, which keeps everybody out"
    names = set(_names(listed))
    if names and listed == deny and user in names:
        return f"{listed} names {user}"
    if listed == allow and user not in names and _readable(listed):
        return f"{listed} does not name {user}"
    return None


def gone_homes(entries: Iterable[Entry]) -> Iterator[tuple[str, str]]:
    """Of each entry that calls us for a home that is not there: its job, and that home.

    A home that was moved leaves such lines: they belong to no home any more, and start nothing.
    """
    for entry in entries:
        for word, named in pairwise(command_words(entry)):
            if word == OPTION and _is_gone(Path(named)):
                yield entry.job, named


def _is_gone(directory: Path) -> bool:
    """Whether no such directory is there; who may not look cannot tell."""
    try:
        return not stat.S_ISDIR(directory.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def _names(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return
    yield from (line.strip() for line in text.splitlines())


def _readable(path: Path) -> bool:
    try:
        path.open("rb").close()
    except OSError:
        return False
    return True


def _readable_by_cron(path: Path) -> bool:
    status = path.stat()
    try:
        group = grp.getgrnam(CRON_GROUP).gr_gid
    except KeyError:
        return True  # a cron without that group reads as root
    needed = stat.S_IRGRP if status.st_gid == group else stat.S_IROTH
    return bool(status.st_mode & needed)
