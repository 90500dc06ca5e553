"""The host's own `crontab`: how it is called, how it checks a table, what its complaints mean."""

import re
from collections.abc import Mapping
from typing import IO

from maejobs.cron.dialect import host_dialect
from maejobs.cron.lines import LONGEST_COMMAND, Kind, parse_lines
from maejobs.cron.table_lock import held_descriptors
from maejobs.cron.target import NO_TABLE, Listing, TableRejected, TargetError, Unfaithful

PATIENCE_SECONDS = 30.0
NOT_INSTALLED = (
    "`crontab` is not installed: install cron (`apt install cron`), "
    'or set `crontab = "PATH"` in maejobs.toml to keep the table in a file'
)
# Debian counts lines: "crontab is too long; maximum number of lines is 10000."
TOO_LONG = re.compile(r"^crontab is too long.*[^.\n]", re.MULTILINE)
NO_FILE_IN_BUSYBOX = re.compile(rb"^crontab: can't open '[^'\n]*': No such file", re.MULTILINE)
# `"/tmp/x":3: bad month`, from Debian and cronie alike
COMPLAINT = re.compile(r'^"[^"\n]*":(?P<line>\d+): (?P<words>.*)$', re.MULTILINE)


def call_crontab(
    *arguments: str, stdin: bytes | None = None, environment: Mapping[str, str] | None = None
) -> Listing:
    """What `crontab ARGUMENTS` printed and returned; `environment` adds to ours.

    It inherits the lock that we hold: should we be killed, nobody else reads the table before it
    has finished. What it reads is a file without a name: of a pipe it would then install what had
    come through, or nothing, and a file in /tmp would stay. Raises TargetError where it is missing,
    hangs or is killed.
    """
    import os
    import signal
    import subprocess

    words = " ".join(("crontab", *arguments))
    given = None if stdin is None else _unnamed_file(stdin)
    try:
        done = subprocess.run(
            ["crontab", *arguments],
            stdin=given or subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            pass_fds=held_descriptors(),
            timeout=PATIENCE_SECONDS,
        )
    except FileNotFoundError as error:
        raise TargetError(NOT_INSTALLED) from error
    except subprocess.TimeoutExpired as error:
        raise TargetError(
            f"`{words}` did not answer within {PATIENCE_SECONDS:g} s and was killed"
        ) from error
    except OSError as error:
        raise TargetError(f"`crontab` cannot be run: {error.strerror}") from error
    finally:
        if given:
            given.close()
    if done.returncode < 0:
        raise TargetError(f"`{words}` was killed by {signal.Signals(-done.returncode).name}")
    return Listing(done.stdout, done.stderr, done.returncode)


def _unnamed_file(content: bytes) -> IO[bytes]:
    """A file to read `content` from, gone with the last who has it open. Raises TargetError."""
    import tempfile

    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
        try:
            file.write(content)
            file.seek(0)
        except OSError:
            file.close()
            raise
    except OSError as error:
        raise TargetError(f"no temporary file can be written: {error.strerror}") from error
    return file


def words_of(listing: Listing) -> str:
    """What a failed `crontab` said, for a message."""
    said = (listing.stderr or listing.stdout).decode(errors="replace").strip()
    return said or f"`crontab` returned {listing.status} and said nothing"


def refuse_unfaithful(table: bytes, is_surely_shown: bool = False) -> None:
    """Refuse what cron cannot hold, or `crontab -l` may not have shown as it is.

    Debian lists a carriage return as a literal `\\r`; written back, the line is corrupt for good.
    With `is_surely_shown` a `\\r` is known to be what it looks like. Raises TableRejected, or
    Unfaithful, with the line.
    """
    longest = LONGEST_COMMAND[host_dialect()]
    for number, line in enumerate(table.split(b"\n"), 1):
        spelling = next((s for s in (b"\\r", b"\\b") if s in line), None)
        if spelling and not is_surely_shown:
            raise Unfaithful(
                f"`crontab -l` shows a literal {spelling.decode()}, which is how Debian lists a "
                "control character: written back, the line would change; remove it with "
                "`crontab -e`",
                number,
            )
        if b"\0" in line:
            raise TableRejected("holds a NUL byte; remove it with `crontab -e`", number)
        if len(line) > longest:
            raise TableRejected(f"is longer than {longest} bytes; shorten it", number)


def check_on_host(table: bytes) -> None:
    """Have the host's `crontab` check `table`, if it is there and has a check that writes nothing.

    cronie checks with `-T`; Debian with `-n`, which on cronie *sets the cluster's host name*. So
    `-V` comes first: cronie names itself, the others fail and print their usage.
    Raises TableRejected in the checker's own words, TargetError if the checker cannot run.
    """
    import shutil

    if shutil.which("crontab") is None:
        return
    version = call_crontab("-V")
    said = version.stdout + version.stderr
    if version.status == 0 and b"cronie" in said:
        option = "-T"
    elif version.status != 0 and b"dry run" in said:
        option = "-n"
    else:
        return
    done = call_crontab(option, "-", stdin=table)  # of a pipe, cronie's would always fail
    if done.status != 0:
        raise_rejection(done, table)
        raise TargetError(f"`crontab {option}` could not check the table: {words_of(done)}")


def says_no_table(listing: Listing) -> bool:
    """Whether a failed `crontab` said that there is no table; all else is an error to stop at."""
    said = listing.stderr
    return NO_TABLE in said or NO_FILE_IN_BUSYBOX.search(said) is not None


def raise_rejection(done: Listing, table: bytes) -> None:
    """Raise TableRejected if a failed `crontab` spoke of the table; return if of something else."""
    said = (done.stdout + done.stderr).decode(errors="replace")
    if complaint := COMPLAINT.search(said):
        raise TableRejected(complaint["words"], _blamed_line(table, int(complaint["line"])))
    if too_long := TOO_LONG.search(said):
        raise TableRejected(too_long[0])
    if "missing newline" in said:
        raise TableRejected("missing newline before EOF", table.count(b"\n") + 1)


def _blamed_line(table: bytes, counted: int) -> int:
    """The line that cron means by `counted`.

    cronie counts right. Debian counts the newlines read before it gave up, one too few if the
    mistake stands within the line; so of the two take the one that cannot be read.
    """
    lines = parse_lines(table, dialect=host_dialect())
    unreadable = {line.number for line in lines if line.kind is Kind.UNPARSABLE}
    found = [number for number in (counted, counted + 1) if number in unreadable]
    return max(found[0] if found else counted, 1)
