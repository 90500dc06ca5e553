"""Deleting so that a kill leaves either the whole thing or trash, never half a checkpoint."""

import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from maejobs import clock
from maejobs.errors import MaejobsError
from maejobs.files import sync_directory
from maejobs.keep.checkpoint import is_pinned

TRASH = ".trash-"
TEMPORARY = ".tmp-"
A_DAY = timedelta(days=1)
NO_TIME = timedelta()


class Swept(NamedTuple):
    """The names of what was deleted, and a line for each that could not be."""

    names: list[str]
    undeleted: list[str]


def set_aside(path: Path) -> Path:
    """Rename `path` to a name nobody reads, durably; what it is called now.

    Raises MaejobsError where that is refused; `path` is then as it was.
    """
    trash = path.with_name(TRASH + path.name)
    if os.path.lexists(trash):
        erase(trash)
    try:
        path.rename(trash)
        sync_directory(path.parent)
    except OSError as error:
        raise MaejobsError(f"{path}: cannot be deleted: {error.strerror}") from error
    return trash


def put_back(trash: Path) -> None:
    """Undo `set_aside`."""
    trash.rename(trash.with_name(trash.name.removeprefix(TRASH)))
    sync_directory(trash.parent)


def erase(path: Path) -> None:
    """Delete `path` with all that is below it; links are deleted, never what they lead to.

    Raises MaejobsError naming what could not be deleted.
    """
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path)
    except OSError as error:
        within = f" ({error.filename})" if error.filename not in (None, path, str(path)) else ""
        raise MaejobsError(f"{path}: cannot be deleted: {error.strerror}{within}") from error


def sweep(directory: Path, temporaries_after: timedelta = A_DAY) -> Swept:
    """Delete what killed processes left in `directory`: trash, and temporaries grown old.

    A younger temporary may be a checkpoint being written at this very moment. Trash that bears a
    pin was pinned while it was on its way out: it is put back. What cannot be deleted,
    because a container wrote it as root, say, keeps nobody from the rest.
    """
    swept = Swept([], [])
    for trash in list(directory.glob(f"{TRASH}*")):
        replaced = os.path.lexists(trash.with_name(trash.name.removeprefix(TRASH)))
        if is_pinned(trash) and not replaced:
            put_back(trash)
    for path in sorted(directory.iterdir()):
        abandoned = path.name.startswith(TEMPORARY) and _age(path) >= temporaries_after
        if path.name.startswith(TRASH) or abandoned:
            try:
                erase(path)
            except MaejobsError as error:
                swept.undeleted.append(str(error))
            else:
                swept.names.append(path.name)
    return swept


def _age(path: Path) -> timedelta:
    # File dates are real time, so a rehearsal's shifted clock must not make them look old.
    real_now = clock.now() - clock.shift()
    newest = path.lstat().st_mtime
    if path.is_dir() and not path.is_symlink():
        newest = max([newest, *(file.lstat().st_mtime for file in path.iterdir())])
    return real_now - datetime.fromtimestamp(newest, real_now.tzinfo)
