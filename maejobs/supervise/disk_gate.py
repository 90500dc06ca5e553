"""The gate of jobs that ask for room on a disk, in bytes or in checkpoints of theirs to come."""

import logging
import os
import shutil
from pathlib import Path

import humanize

from maejobs.errors import NotNow
from maejobs.home import Home
from maejobs.jobs.model import DiskRoom
from maejobs.rundb.database import hurried_database
from maejobs.rundb.queries import last_checkpoint_bytes

PATIENCE_SECONDS = 0.5  # for a locked database: the campaign's directory tells as well
CHECKPOINTS = "checkpoints/step-*[0-9]"  # below a campaign's directory (maejobs/keep/checkpoint.py)
MANIFEST = "manifest.json"
_log = logging.getLogger(__name__)


def check_disk(home: Home, job: str, path: Path, need: DiskRoom) -> None:
    """Raises NotNow where `path`, or what of it exists, has less room than `need` asks for.

    How large a checkpoint will be is foretold from the job's last one. Before there is one, only
    `free` counts.
    """
    asked = {"the job asks for {}": need.free or 0}
    if need.checkpoints and (size := checkpoint_size(home, job, path)):
        words = "a checkpoint" if need.checkpoints == 1 else f"{need.checkpoints} checkpoints"
        asked[f"{words} of the size of the last take {{}}"] = need.checkpoints * size
    place = existing(path)
    available = shutil.disk_usage(place).free
    for words, room in asked.items():
        if available < room:
            free = humanize.naturalsize(available)
            raise NotNow(
                "disk_low",
                f"{place} has {free} free, {words.format(humanize.naturalsize(room))}",
            )


def existing(path: Path) -> Path:
    """`path`, or what of it exists."""
    return next(p for p in (path, *path.parents) if p.exists())


def checkpoint_size(home: Home, job: str, path: Path) -> int | None:
    """Bytes of the last checkpoint that the job has told of, else of the newest below `path`."""
    try:
        with hurried_database(home, PATIENCE_SECONDS) as engine:
            told = last_checkpoint_bytes(engine, job)
    except Exception as error:  # whatever it is, the directory may know
        _log.debug("the last checkpoint of %s is not known: %s", job, error)
        told = None
    return told or _size_of_newest(path)


def _size_of_newest(path: Path) -> int | None:
    """Of the newest checkpoint that has its manifest, which is written last."""
    try:
        for step in sorted(path.glob(CHECKPOINTS), key=_by_step, reverse=True):
            if (step / MANIFEST).is_file():
                return sum(entry.stat(follow_symlinks=False).st_size for entry in os.scandir(step))
    except OSError as error:
        _log.debug("%s cannot be looked through for checkpoints: %s", path, error)
    return None


def _by_step(path: Path) -> tuple[int, str]:
    return len(path.name), path.name
