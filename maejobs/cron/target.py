"""Where a crontab lives: the user's own, behind the host's `crontab`, or a file that stands for it.

Imports little: `maejobs list` reads a target and answers in a blink.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from maejobs.cron.grammar import BadExpression, expression_of, parse_expression
from maejobs.errors import MaejobsError, UserError
from maejobs.files import FILE_MODE, write_atomically

NO_TABLE = b"no crontab for"
LONGEST_LINE = 998  # bytes; Debian's cron cuts or rejects beyond (MAX_COMMAND in cron.h)
NOT_INSTALLED = (
    "`crontab` is not installed: install cron (`apt install cron`), "
    'or set `crontab = "PATH"` in maejobs.toml to keep the table in a file'
)
# `"/tmp/x":3: bad month`, from Debian and cronie alike
COMPLAINT = re.compile(r'^"[^"\n]*":(?P<line>\d+): (?P<words>.*)$', re.MULTILINE)


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

    def listing(self) -> Listing:
        """Exactly what `crontab -l` prints and returns."""

    def read(self) -> bytes | None:
        """The table's bytes; None: there is no table. Raises TargetError for anything else."""

    def check(self, table: bytes) -> None:
        """Ask the host's own checker, if it has one. Raises TableRejected; writes nothing."""

    def install(self, table: bytes) -> None:
        """Make `table` the crontab; an empty one means none. Raises TargetError, TableRejected."""


class UserTarget:
    """The crontab of the user we run as, through the host's `crontab`."""

    def __init__(self) -> None:
        self.name = f"crontab of {_user()}"

    def listing(self) -> Listing:
        return _crontab("-l")

    def read(self) -> bytes | None:
        listing = self.listing()
        if listing.status == 0:
            return listing.stdout
        if NO_TABLE in listing.stderr:
            return None
        raise TargetError(f"{self.name} cannot be read: {_words(listing)}")

    def check(self, table: bytes) -> None:
        refuse_unfaithful(table)
        check_on_host(table)

    def install(self, table: bytes) -> None:
        refuse_unfaithful(table)
        # With no line left there is no table, as before the first one was scheduled.
        done = _crontab("-", stdin=table) if table else _crontab("-r")
        if done.status != 0 and not (not table and NO_TABLE in done.stderr):
            _raise_rejection(done, table)
            raise TargetError(f"{self.name} cannot be written: {_words(done)}")


class FileTarget:
    """A file that stands for a crontab where there is no cron, or none to be touched."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"file {path}"

    def listing(self) -> Listing:
        table = self.read()
        if table is None:
            return Listing(b"", NO_TABLE + f" {_user()}\n".encode(), 1)
        return Listing(table, b"", 0)

    def read(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TargetError(f"{self.name} cannot be read: {error.strerror}") from error

    def check(self, table: bytes) -> None:
        # A file may lack its final newline, and taking our block out must give that file back.
        whole = table if table.endswith(b"\n") or not table else table + b"\n"
        try:
            check_on_host(whole)
        except TargetError:
            return  # a host whose checker cannot run is no reason to refuse a file

    def install(self, table: bytes) -> None:
        path = self.path.resolve()  # a link keeps pointing where it points
        try:
            if not table:
                path.unlink(missing_ok=True)
                return
            mode = path.stat().st_mode & 0o777 if path.exists() else FILE_MODE
            write_atomically(path, table, mode)
        except OSError as error:
            raise TargetError(f"{self.name} cannot be written: {error.strerror}") from error


def open_target(spec: str) -> Target:
    """The target that a home's `crontab` setting names: "user", or the path of a file."""
    return UserTarget() if spec == "user" else FileTarget(Path(spec))


def refuse_unfaithful(table: bytes) -> None:
    """Refuse what `crontab -l` cannot have shown faithfully or cron cannot hold.

    Debian lists a carriage return as a literal `\\r`; written back, the line is corrupt for good.
    Raises TableRejected, or Unfaithful, with the line.
    """
    for number, line in enumerate(table.split(b"\n"), 1):
        if line.endswith((b"\\r", b"\\b")):
            shown = line[-2:].decode()
            raise Unfaithful(
                f"`crontab -l` shows it ending in a literal {shown}, which is how Debian lists a "
                "control character: written back, the line would change; remove it with "
                "`crontab -e`",
                number,
            )
        if b"\0" in line:
            raise TableRejected("holds a NUL byte; remove it with `crontab -e`", number)
        if len(line) > LONGEST_LINE:
            raise TableRejected(f"is longer than {LONGEST_LINE} bytes; shorten it", number)


def check_on_host(table: bytes) -> None:
    """Have the host's `crontab` check `table`, if it is there and has a check that writes nothing.

    cronie checks with `-T`; Debian with `-n`, which on cronie *sets the cluster's host name*. So
    `-V` comes first: cronie names itself, the others fail and print their usage.
    Raises TableRejected in the checker's own words, TargetError if the checker cannot run.
    """
    import shutil
    import tempfile

    if shutil.which("crontab") is None:
        return
    version = _crontab("-V")
    said = version.stdout + version.stderr
    if version.status == 0 and b"cronie" in said:
        option = "-T"
    elif version.status != 0 and b"dry run" in said:
        option = "-n"
    else:
        return
    with tempfile.NamedTemporaryFile(prefix="maejobs-crontab-") as file:
        file.write(table)
        file.flush()
        done = _crontab(option, file.name)
    if done.status != 0:
        _raise_rejection(done, table)
        raise TargetError(f"`crontab {option}` could not check the table: {_words(done)}")


def _raise_rejection(done: Listing, table: bytes) -> None:
    """Raise TableRejected if a failed `crontab` spoke of the table; return if of something else."""
    said = (done.stdout + done.stderr).decode(errors="replace")
    if complaint := COMPLAINT.search(said):
        raise TableRejected(complaint["words"], _blamed_line(table, int(complaint["line"])))
    if "missing newline" in said:
        raise TableRejected("missing newline before EOF", table.count(b"\n") + 1)


def _blamed_line(table: bytes, counted: int) -> int:
    """The line that cron means by `counted`: it counts the newlines read before it gave up.

    That is one too few if the mistake stands within the line, and right if it is at its end; so of
    the two lines take the one that our grammar refuses as well.
    """
    lines = table.split(b"\n")
    for number in (counted + 1, counted):
        if 0 < number <= len(lines):
            try:
                parse_expression(expression_of(lines[number - 1].decode(errors="replace")))
            except BadExpression:
                return number
    return max(counted, 1)


def _crontab(*arguments: str, stdin: bytes = b"") -> Listing:
    import subprocess

    try:
        done = subprocess.run(["crontab", *arguments], input=stdin, capture_output=True)
    except FileNotFoundError as error:
        raise TargetError(NOT_INSTALLED) from error
    except OSError as error:
        raise TargetError(f"`crontab` cannot be run: {error.strerror}") from error
    return Listing(done.stdout, done.stderr, done.returncode)


def _words(listing: Listing) -> str:
    said = (listing.stderr or listing.stdout).decode(errors="replace").strip()
    return said or f"`crontab` returned {listing.status} and said nothing"


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
