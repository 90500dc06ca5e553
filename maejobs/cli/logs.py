"""`maejobs logs`: what a run printed."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import click

from maejobs.cli.options import HomeCommand, existing_home, json_option, looking_up, run_argument
from maejobs.cli.settled import is_left, settled
from maejobs.cli.streams import is_unread
from maejobs.cli.text import shown_line, visible
from maejobs.cron.fires import host_zone
from maejobs.errors import MaejobsError, UserError
from maejobs.home import Home
from maejobs.rundb.directory import LOG_NAME, directory_of, read_record
from maejobs.rundb.run import UNFINISHED, Run
from maejobs.supervise.cancel import find_record
from maejobs.supervise.claim import has_process
from maejobs.supervise.log import TIMES_NAME, read_times, time_at
from maejobs.supervise.log_reader import Line, read_lines, start_of_last

FOLLOW_SECONDS = 0.3


@click.command("logs", cls=HomeCommand)
@run_argument
@click.option("-f", "--follow", is_flag=True, help="Go on as the run goes on, until it ends.")
@click.option("-t", "--timestamps", is_flag=True, help="Put before each line when it came.")
@click.option("-n", "--lines", type=click.IntRange(0), help="Only the last so many lines.")
@json_option
def logs_command(
    run: str, follow: bool, timestamps: bool, lines: int | None, as_json: bool
) -> None:
    """Print what a run wrote, or follow it. A job's name means the run under way, else the newest.

    On a terminal, control characters are shown instead of obeyed; piped, the bytes are as written.
    A line says where the middle of a log that was too long is gone.
    With --json, each line is an object: `offset`, `time`, `line`, `dropped` (bytes that are gone).

    \b
    Example:
      maejobs logs pretrain -f
      maejobs logs pretrain-20261124T0200Z-1 -n 20
    """
    home = existing_home()
    with looking_up(home, run):
        record = _find(home, run)
    directory = directory_of(home.runs_dir, record)
    log = directory / LOG_NAME
    offset = _start_of_last(log, lines) if lines is not None else 0
    printed, clock = 0, _Clock(directory / TIMES_NAME)
    for line in _lines(log, offset, directory if follow else None):
        at = clock.at(line.start) if timestamps or as_json else None
        _print_line(line, at, timestamps, as_json)
        if is_unread():
            return
        printed += 1
    now = settled(home, read_record(directory) or record)
    if follow or not (printed or offset):
        why = f" ({now.reason})" if now.reason else ""
        empty = "" if printed or offset else " and has printed nothing"
        click.echo(visible(f"maejobs: {now.id}: {_state(now)}{why}{empty}"), err=True)


def _state(run: Run) -> str:
    if is_left(run):
        return f"was {run.state}, its process is gone (`maejobs reconcile` settles it)"
    return f"is {run.state}" if run.state in UNFINISHED else run.state


def _find(home: Home, name: str) -> Run:
    """The run's record; for a run without a directory (missed), what the database says of it."""
    try:
        return find_record(home, name)
    except UserError as error:
        from maejobs.rundb.database import open_database
        from maejobs.rundb.queries import find_run

        try:
            with open_database(home) as engine:
                row = find_run(engine, name)
        except MaejobsError:
            raise error from None
        if row.started:
            gone = "its directory is gone, as `maejobs keep cleanup` deletes old ones"
            raise UserError(f"{row.id} has no log any more: {gone}") from None
        why = f": {row.reason}" if row.reason else ""
        raise UserError(f"{row.id} has no log: it is {row.state}{why}") from None


def _lines(log: Path, offset: int, follow: Path | None) -> Iterator[Line]:
    """The log's lines from byte `offset`; to the run's end if followed."""
    while True:
        # Asked before reading, so that what comes between the two is read in the next round.
        goes_on = follow is not None and (run := read_record(follow)) and has_process(run)
        with suppress(FileNotFoundError):
            for line in read_lines(log, offset):
                if goes_on and not line.text.endswith(b"\n"):
                    break
                yield line
                offset = line.end
        if not goes_on:
            return
        time.sleep(FOLLOW_SECONDS)


def _print_line(line: Line, at: datetime | None, timestamps: bool, as_json: bool) -> None:
    if as_json:
        text = line.text.decode(errors="backslashreplace").removesuffix("\n")
        when = at.astimezone(UTC).isoformat() if at else None
        told = {"offset": line.start, "time": when, "line": text, "dropped": line.dropped}
        click.echo(json.dumps(told))
        return
    stamp = f"{at.astimezone(host_zone()):%Y-%m-%d %H:%M:%S}  " if at and timestamps else ""
    if sys.stdout.isatty():
        click.echo(stamp + shown_line(line.text))
    else:
        sys.stdout.buffer.write(stamp.encode() + line.text)
        sys.stdout.buffer.flush()


class _Clock:
    """When bytes of the log came; its file is read again only when it has grown."""

    def __init__(self, times: Path) -> None:
        self._times = times
        self._size = -1
        self._pairs: list[tuple[int, datetime]] = []

    def at(self, offset: int) -> datetime | None:
        size = self._times.stat().st_size if self._times.exists() else 0
        if size != self._size:
            self._size, self._pairs = size, read_times(self._times)
        return time_at(self._pairs, offset)


def _start_of_last(log: Path, lines: int) -> int:
    try:
        return start_of_last(log, lines)
    except FileNotFoundError:
        return 0
