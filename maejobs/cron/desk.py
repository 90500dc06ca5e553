"""Where a table lies while it is edited; what somebody wrote there is never lost without a word.

    /tmp/maejobs-edit-user-joe-x7k2/crontab    and what the editor puts beside it

An editor that ends in bad order leaves unsaved text beside the file: vim's swap file, nano's
crontab.save. The directory is locked as long as we live, so that the next edit knows what was left
by one that was killed.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path

from maejobs import clock
from maejobs.cron.backups import STAMP
from maejobs.cron.target import Target
from maejobs.files import FILE_MODE, make_private_directory, write_atomically
from maejobs.privilege import acting_as, owner_of

KEPT_SUFFIX = ".edited"


class Desk:
    """A private directory with a copy of the table, in `file`."""

    def __init__(self, directory: Path, lock: int | None) -> None:
        self.file = directory / "crontab"  # the name by which editors know the syntax
        self._directory = directory
        self._lock = lock

    def clear(self) -> None:
        """Take away the directory with all in it."""
        shutil.rmtree(self._directory, ignore_errors=True)
        self._leave()

    def rescue(self, before: bytes, backups_dir: Path | None) -> Path | None:
        """Where a text other than `before` is kept: among the backups, or else where it is.

        What an editor left beside it stays where it is. None: there was nothing to keep, and the
        directory is gone.
        """
        kept = self._kept(before, backups_dir)
        if kept is None or not kept.is_relative_to(self._directory):
            shutil.rmtree(self._directory, ignore_errors=True)
        self._leave()
        return kept

    def _leave(self) -> None:
        if self._lock is not None:
            os.close(self._lock)

    def _kept(self, before: bytes, backups_dir: Path | None) -> Path | None:
        try:
            if any(path != self.file for path in self._directory.iterdir()):
                return self._directory
            text = self.file.read_bytes()
        except OSError:
            return None
        if text == before:
            return None
        if backups_dir is None:
            return self.file
        kept = backups_dir / (clock.now().strftime(STAMP) + KEPT_SUFFIX)
        try:
            with acting_as(owner_of(backups_dir)):  # root may be at another's home
                make_private_directory(backups_dir)
                write_atomically(kept, text)
        except OSError:
            return self.file
        return kept


def set_desk(target: Target, table: bytes) -> Desk:
    """A desk for the target's table, with `table` on it."""
    directory = Path(tempfile.mkdtemp(prefix=_prefix(target)))
    desk = Desk(directory, _lock(directory))
    desk.file.touch(FILE_MODE)
    desk.file.write_bytes(table)
    return desk


def rescue_broken_off(target: Target, before: bytes, backups_dir: Path) -> list[Path]:
    """Where the texts are of edits of the target that were killed, other than `before`."""
    found: list[Path] = []
    try:
        there = sorted(Path(tempfile.gettempdir()).iterdir())
    except OSError:  # on a shared host it may be to be written to, and not to be listed
        return found
    for directory in there:
        if directory.name.startswith(_prefix(target)) and _is_ours(directory):
            lock = _lock(directory)
            if lock is not None and (kept := Desk(directory, lock).rescue(before, backups_dir)):
                found.append(kept)
    return found


def _prefix(target: Target) -> str:
    return f"maejobs-edit-{target.slug}-"


def _is_ours(directory: Path) -> bool:
    """Whether nobody else can have put anything there."""
    try:
        found = directory.lstat()
    except OSError:
        return False
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return private and found.st_uid == os.geteuid()


def _lock(directory: Path) -> int | None:
    """The directory's lock, until it is closed; None: somebody holds it, or there can be none."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
