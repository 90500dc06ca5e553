"""What every place that holds a crontab can do; user_target, file_target, system_target are such.

Imports little: `maejobs list` reads a target and answers in a blink.
"""

import errno
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from maejobs.errors import MaejobsError, UserError
from maejobs.privilege import Owner

USER, OTHER_USER, SYSTEM = "user", "user:", "system"
NO_TABLE = b"no crontab for"


@dataclass(frozen=True)
class Listing:
    """What `crontab -l` printed and returned."""

    stdout: bytes
    stderr: bytes
    status: int


class TargetError(MaejobsError):
    """The place where the crontab lives cannot be read or written."""


class TableRejected(UserError):
    """The host's checker, or cron's own limits, refuse a table; nothing was written."""

    verdict = "cron would not take this crontab"

    def __init__(self, words: str, line: int | None = None, column: int | None = None) -> None:
        self.words = words
        self.line = line
        self.column = column
        place = f"line {line}{f', column {column}' if column else ''}: " if line else ""
        super().__init__(f"{self.verdict}: {place}{words}")


class Unfaithful(TableRejected):
    """Cron would take the table, but `crontab -l` has shown us another one than it holds."""

    verdict = "this crontab cannot be kept as it is"


class Target(Protocol):
    """A place that holds one crontab."""

    @property
    def name(self) -> str:
        """What to call it in a message: "crontab of root", "file /x/crontab"."""

    @property
    def slug(self) -> str:
        """The same as the name of a directory, such as that of its backups."""

    @property
    def system(self) -> bool:
        """Whether its lines name a user before the command."""

    @property
    def wants_newline(self) -> bool:
        """Whether a last line without its newline is refused, as cron does."""

    @property
    def owner(self) -> Owner:
        """Whose table it is, and so whose its lock is."""

    @property
    def lock_file(self) -> Path:
        """What everybody locks who changes this table, from whichever home."""

    def listing(self) -> Listing:
        """Exactly what `crontab -l` prints and returns."""

    def read(self) -> bytes | None:
        """The table's bytes; None: there is no table. Raises TargetError for anything else."""

    def check(self, table: bytes) -> None:
        """Ask the host's own checker, if it has one. Raises TableRejected; writes nothing."""

    def install(self, table: bytes) -> None:
        """Make `table` the crontab; an empty one means none, or an empty file.

        Raises TargetError, TableRejected.
        """


def open_target(spec: str) -> Target:
    """The target a home's `crontab` setting or `--crontab` names.

    "user" is the crontab of whoever runs us, "user:NAME" that of NAME, "system" the file in
    /etc/cron.d; anything else is the path of a file. Raises UserError for a user who is not there
    or not ours to touch, for the root of all files, for a link to itself, and for what is there and
    no plain file: a device would be replaced, a pipe waited for.
    """
    if spec == USER or spec.startswith(OTHER_USER):
        from maejobs.cron.user_target import UserTarget

        return UserTarget(spec.removeprefix(OTHER_USER) if spec != USER else None)
    if spec == SYSTEM:
        from maejobs.cron.system_target import SystemTarget

        return SystemTarget()
    from maejobs.cron.file_target import FileTarget

    path = Path(spec)
    if why := _why_no_table(path):
        raise UserError(f"crontab {spec}: {why}")
    return FileTarget(path)


def _why_no_table(path: Path) -> str | None:
    """What is at `path` that can be no table, and the mend; None: one is, or may come to be."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link that leads to itself; name a file"
        return None  # not there yet, or its reading tells why it cannot be seen
    if not path.resolve().name:  # nothing can lie beside it, a lock say
        return "no file, but the root of all; name a file"
    return None if stat.S_ISREG(mode) else "is there and no plain file; name another"
