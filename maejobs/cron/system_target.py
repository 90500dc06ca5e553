"""The table in /etc/cron.d, root's, whose lines name a user; one bad line and cron drops it all."""

import os
import pwd
import stat
from pathlib import Path

from maejobs.cron.host import check_on_host
from maejobs.cron.lines import ENCODING, ERRORS, Kind, Line, parse_lines
from maejobs.cron.target import Listing, TableRejected, TargetError
from maejobs.files import write_atomically
from maejobs.privilege import Owner

# Debian's cron skips, without a word, a name with other characters than letters, digits, - and _;
# so our lock and our temporary file, which have a dot, are none of its business.
PLACE = Path("/etc/cron.d/maejobs")
MODE = 0o644


class SystemTarget:
    """The file of ours in the directory of system tables."""

    system = True
    wants_newline = True
    slug = "system"
    owner = Owner(0, 0)

    def __init__(self, path: Path = PLACE) -> None:
        self.path = path
        self.name = f"system table {path}"
        self.lock_file = path.with_name(f".{path.name}.lock")

    def listing(self) -> Listing:
        table = self.read()
        if table is None:
            return Listing(b"", f"no such file: {self.path}\n".encode(), 1)
        return Listing(table, b"", 0)

    def read(self) -> bytes | None:
        try:
            self._refuse_unsafe()
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TargetError(f"{self.name} cannot be read: {error.strerror}") from error

    def check(self, table: bytes) -> None:
        lines = parse_lines(table, system=True)
        for line in lines:
            if reason := _bad(line):
                raise TableRejected(reason, line.number)
        if table and not table.endswith(b"\n"):
            raise TableRejected("missing newline before EOF", len(lines))
        check_on_host(b"".join(map(_without_user, lines)))

    def install(self, table: bytes) -> None:
        if os.geteuid() != 0:
            raise TargetError(f"{self.name} cannot be written: only root may; run it with sudo")
        try:
            if not table:
                self.path.unlink(missing_ok=True)
                return
            write_atomically(self.path, table, MODE)
        except FileNotFoundError as error:
            raise TargetError(
                f"{self.name} cannot be written: there is no {self.path.parent}, so no cron here "
                "reads system tables"
            ) from error
        except OSError as error:
            raise TargetError(f"{self.name} cannot be written: {error.strerror}") from error

    def _refuse_unsafe(self) -> None:
        """Refuse what cron refuses, since whoever may write the file is root at its next minute."""
        found = self.path.lstat()
        if not stat.S_ISREG(found.st_mode):
            kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "no regular file"
            raise TargetError(f"{self.name} is {kind}; remove it: `rm {self.path}`")
        if found.st_uid != 0:
            mend = f"chown root:root {self.path}"
            raise TargetError(f"{self.name} is not root's, so cron ignores it; `{mend}` mends it")
        if found.st_mode & 0o022:
            mend = f"chmod {MODE:o} {self.path}"
            raise TargetError(
                f"{self.name} may be written by others than root, so cron ignores it; `{mend}` "
                "mends it"
            )


def _bad(line: Line) -> str | None:
    """Why cron would drop the whole file for this line."""
    if line.kind is Kind.UNPARSABLE:
        return line.reason
    if line.user is not None:
        try:
            pwd.getpwnam(line.user)
        except KeyError:
            return f"there is no user {line.user!a} on this host"
    return None


def _without_user(line: Line) -> bytes:
    """The line as a user's own crontab would have it, for `crontab` checks no other."""
    if line.expression is None or line.user is None:
        return line.raw
    text = line.raw.decode(ENCODING, ERRORS)
    end = text.index(line.expression) + len(line.expression)
    rest = text[end:].lstrip(" \t").removeprefix(line.user)
    return (text[:end] + rest).encode(ENCODING, ERRORS)
