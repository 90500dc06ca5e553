"""`maejobs doctor --probe`: whether cron really starts our lines, seen and not guessed.

A line of the home's own is put into the crontab for a minute or two, due each minute. Cron calls
`maejobs exec PROBE`, which only leaves a file; then the line is taken out again, and the table is
what it was before, byte for byte. A line left behind by a power cut is known by its name, does
nothing but touch that file, and goes with the next probe.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from maejobs.cli.entries import command_of
from maejobs.cron.block import Entry, read_entries, replace_entries
from maejobs.cron.install import change_table
from maejobs.cron.schedule import PROBE, is_probe
from maejobs.cron.target import Target, open_target
from maejobs.errors import MaejobsError, NotNow
from maejobs.files import write_atomically
from maejobs.home import Home

EVERY_MINUTE = "* * * * *"
PATIENCE_SECONDS = 130.0  # cron reads a changed table within a minute, and fires in the next
POLL_SECONDS = 0.2


def answer(home: Home) -> None:
    """What the probe's line does when cron calls it."""
    write_atomically(_file(home), b"")


def probe(home: Home, patience: float = PATIENCE_SECONDS) -> float:
    """Seconds from putting the line into the crontab until cron started it.

    Raises NotNow where it was not started in time, and what changing the table raises. Whatever
    happens, the line is taken out again; only a KILL leaves it.
    """
    target = open_target(home.crontab)
    entry = Entry(PROBE, EVERY_MINUTE, command_of(home, PROBE))
    _file(home).unlink(missing_ok=True)
    with _leaving_in_order():
        try:
            _change(target, home, lambda others: [*others, entry])
            return _wait(home, patience)
        finally:
            _change(target, home, list)
            _file(home).unlink(missing_ok=True)


@contextmanager
def _leaving_in_order() -> Iterator[None]:
    """Within, TERM and HUP (a terminal that is closed) unwind as Ctrl-C does."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(home: Home, patience: float) -> float:
    start = time.monotonic()
    with click.progressbar(
        length=round(patience), label="waiting for cron", show_eta=False, show_percent=False
    ) as bar:
        while not _file(home).exists():
            passed = time.monotonic() - start
            if passed > patience:
                raise NotNow(
                    "probe",
                    f"nothing started a line of the crontab within {patience:.0f} s: no cron "
                    "reads this table, or it may not start `maejobs`",
                )
            bar.update(round(passed) - bar.pos)
            time.sleep(POLL_SECONDS)
    return time.monotonic() - start


def _change(
    target: Target, home: Home, build: Callable[[Sequence[Entry]], Sequence[Entry]]
) -> None:
    """Build from all entries but probes of this home."""

    def changed(table: bytes) -> bytes:
        entries = [entry for entry in read_entries(table) if not is_probe(entry, home)]
        return replace_entries(table, build(entries))

    change_table(target, changed, home.crontab_backups_dir)


def _file(home: Home) -> Path:
    return home.root / "probe"


def probed(home: Home, patience: float = PATIENCE_SECONDS) -> tuple[bool, str]:
    """Whether the probe was answered, and what to say of it."""
    try:
        seconds = probe(home, patience)
    except MaejobsError as error:
        return False, str(error)
    return True, f"a line of the crontab was started {seconds:.0f} s after it was put there"
