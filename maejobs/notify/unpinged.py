"""Notes of the runs whose end is still to be pinged, so that it is, whoever is killed before."""

from contextlib import suppress
from pathlib import Path

from maejobs.files import make_private_directory, remove_leftovers, write_atomically
from maejobs.home import Home
from maejobs.rundb.run import Run


def note(home: Home, run: Run) -> None:
    """Somebody is to hear how the run ends. Raises OSError: the disk is full, say."""
    write_atomically(make_private_directory(_directory(home)) / run.id, run.job.encode())


def forget(home: Home, run_id: str) -> None:
    """What tells of its end waits in the outbox, or another try follows. Raises OSError."""
    (_directory(home) / run_id).unlink(missing_ok=True)


def noted(home: Home) -> dict[str, str]:
    """The job of each such run, by the run's name."""
    found = {}
    with suppress(OSError):
        remove_leftovers(_directory(home))
        for path in _directory(home).glob("[!.]*"):  # one that is being written is none yet
            with suppress(OSError, UnicodeDecodeError):
                found[path.name] = path.read_text(encoding="utf-8")
    return found


def _directory(home: Home) -> Path:
    return home.notify_dir / "unpinged"
