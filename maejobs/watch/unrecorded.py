"""Runs that only their directories know of: the disk was full, or the database is an older copy."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from maejobs import clock
from maejobs.home import Home
from maejobs.launch.process import boot_id, host_name
from maejobs.launch.tree import somebody_has
from maejobs.rundb.directory import SETTLING_SECONDS, read_record, was_started
from maejobs.rundb.queries import states_of
from maejobs.rundb.run import LOOK_BACK, NAME, NEVER_CALLED, RUNNING, SLOT_FORMAT, Run

AT_ONCE = 500  # names in one query
_OF_A_SLOT = re.compile(r"-(?P<slot>\d{8}T\d{4}Z)-(?P<attempt>\d{1,9})", re.ASCII)


def unrecorded_runs(home: Home, engine: Engine) -> Iterator[Run]:
    """The runs of the last `LOOK_BACK` for whose directories the database has no row of a run.

    One that says that nobody started them is none. Where a directory holds the log of a command
    but no record, the run is told by its name, and as if it were under way: it is to be judged.
    """
    found = _directories(home.runs_dir)
    for start in range(0, len(found), AT_ONCE):
        part = found[start : start + AT_ONCE]
        states = states_of(engine, [directory.name for directory in part])
        for directory in part:
            if states.get(directory.name) in {None, *NEVER_CALLED}:
                run = read_record(directory) or _told_by_name(directory)
                if run and (run.job, run.id) == directory.parts[-2:]:
                    yield run


def _directories(runs_dir: Path) -> list[Path]:
    """Those of runs that have changed of late; what cannot be read, or has just gone, is none."""
    since = time.time() - LOOK_BACK.total_seconds()
    found = []
    for job in _entries(runs_dir):
        for entry in _entries(job.path):
            with suppress(OSError):
                if entry.stat().st_mtime > since:
                    found.append(Path(entry.path))
    return found


def _entries(parent: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(parent) as entries:
            return [
                e for e in entries if NAME.fullmatch(e.name) and e.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []


def _told_by_name(directory: Path) -> Run | None:
    """The run whose record found no room; None where no command was started, or it still runs."""
    try:
        changed = directory.stat().st_mtime
    except OSError:
        return None
    if not was_started(directory) or time.time() - changed < SETTLING_SECONDS:
        return None
    if somebody_has(f"MAEJOBS_RUN_ID={directory.name}"):
        return None
    job = directory.parent.name
    slot, attempt = _slot_and_attempt(directory.name.removeprefix(job))
    return Run(
        id=directory.name,
        job=job,
        trigger="cron" if slot else "manual",
        attempt=attempt,
        slot=slot,
        state=RUNNING,
        queued=slot or datetime.fromtimestamp(changed, UTC) + clock.shift(),
        host=host_name(),
        boot_id=boot_id(),
        directory=str(directory),
    )


def _slot_and_attempt(name: str) -> tuple[datetime | None, int]:
    """What the end of a run's name says; no slot: it was started by hand, or that is no date."""
    if found := _OF_A_SLOT.fullmatch(name):
        with suppress(ValueError):
            at = datetime.strptime(found["slot"], SLOT_FORMAT).replace(tzinfo=UTC)
            return at, int(found["attempt"])
    return None, 1
