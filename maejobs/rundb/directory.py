"""What a run's own directory tells of it, whatever becomes of the database."""

import os
from pathlib import Path

from maejobs.files import open_plain, write_atomically
from maejobs.rundb.run import Run

RECORD_NAME = "run.json"
STOPPED_BY_NAME = "stopped_by"  # holds who has the run stopped
LOG_NAME = "log"  # there from the moment at which the command is started
LARGEST = 16_000_000  # bytes of what is read here; the command may have put anything in its place
RESERVED = 4096  # bytes: what the first record takes, a later one has on a full disk
SETTLING_SECONDS = 60  # a directory this young without a record belongs to a supervisor starting


def read_record(directory: Path) -> Run | None:
    """What the run's supervisor wrote last into its directory; None if nothing readable."""
    try:
        return Run.from_json(_content(directory / RECORD_NAME).decode())
    except (OSError, ValueError):
        return None


def directory_of(runs_dir: Path, run: Run) -> Path:
    """Where the run's files are: with the home that was asked, which may have been moved since."""
    here = runs_dir / run.job / run.id
    return here if here.is_dir() else Path(run.directory)


def was_started(directory: Path) -> bool:
    """Whether a command was started for the run, record or no record."""
    return (directory / LOG_NAME).exists()


def keep_stopped_by(directory: Path, who: str) -> None:
    """Leave word to the run's supervisor of who has it stopped. Raises OSError."""
    write_atomically(directory / STOPPED_BY_NAME, who.encode(errors="replace"))


def stopped_by(directory: Path) -> str | None:
    """Who had the run stopped; None where nobody left word."""
    try:
        return _content(directory / STOPPED_BY_NAME).decode(errors="replace") or None
    except OSError:
        return None


def _content(path: Path) -> bytes:
    with open_plain(path) as file:
        return file.read(LARGEST)


def keep_record(directory: Path, run: Run) -> None:
    """Replace the record in the run's directory; where there is no room for that, write over it.

    Raises OSError where neither can be done.
    """
    path = directory / RECORD_NAME
    content = run.to_json().encode().ljust(RESERVED)
    try:
        write_atomically(path, content)
    except OSError:
        if not _written_over(path, content):
            raise


def _written_over(path: Path, content: bytes) -> bool:
    """Whether `content` could be put into the blocks that the file has, by one call."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        size = os.fstat(descriptor).st_size
        if size < len(content):
            return False
        written = os.pwrite(descriptor, content.ljust(size), 0) == size
        os.fsync(descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return written
