"""What a table was before each change of ours: a bounded number of files, newest first."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from maejobs import clock
from maejobs.errors import MaejobsError, UserError
from maejobs.files import make_private_directory, write_atomically
from maejobs.privilege import acting_as, owner_of

SUFFIX = ".crontab"
KEPT = 50
STAMP = "%Y%m%dT%H%M%S.%fZ"  # sorts by time, and is in UTC
_NAME = re.compile(rf"\d{{8}}T\d{{6}}\.\d{{6}}Z{re.escape(SUFFIX)}", re.ASCII)


@dataclass(frozen=True)
class Backup:
    """A table as it was until `at`, in the file `path`."""

    at: datetime
    path: Path

    def read(self) -> bytes:
        """The table's bytes. Raises UserError where the file cannot be read."""
        try:
            with acting_as(owner_of(self.path.parent)):
                return self.path.read_bytes()
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror}") from error


def back_up(table: bytes, directory: Path) -> Path:
    """Keep `table` in a file of its own in `directory`; of older ones, the newest stay.

    Raises MaejobsError where that cannot be written.
    """
    path = directory / (clock.now().strftime(STAMP) + SUFFIX)
    with acting_as(owner_of(directory)):  # root may be at another's home
        try:
            make_private_directory(directory)
            write_atomically(path, table)
        except OSError as error:
            raise MaejobsError(
                f"{path} cannot be written: {error.strerror}; the crontab stays as it is, for none "
                "is changed without a backup"
            ) from error
        for old in list_backups(directory)[KEPT:]:
            if old.path != path:  # a clock set back must not cost the one just made
                old.path.unlink(missing_ok=True)
    return path


def list_backups(directory: Path) -> list[Backup]:
    """The backups in `directory`, newest first; [] where there are none."""
    files = sorted(directory.glob(f"*{SUFFIX}"), reverse=True)
    return [
        Backup(datetime.fromisoformat(file.stem), file)
        for file in files
        if _NAME.fullmatch(file.name)
    ]


def find_backup(backups: Sequence[Backup], name: str) -> Backup:
    """The one that `name` means: its number, newest 1, or its file's name or path.

    Raises UserError, saying how many there are.
    """
    if name.isascii() and name.isdigit() and 1 <= int(name) <= len(backups):
        return backups[int(name) - 1]
    for backup in backups:
        if name in (backup.path.name, backup.path.stem, str(backup.path)):
            return backup
    known = f"1 to {len(backups)}, or a name" if backups else "but there is none yet"
    raise UserError(f"no backup {name!a}; `maejobs backups` lists them ({known})")
