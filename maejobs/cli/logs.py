"""`maejobs logs`: what a run printed."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from maejobs.cli.options import HomeCommand, current_home, run_argument
from maejobs.cli.output import visible
from maejobs.supervise.cancel import find_record
from maejobs.supervise.claim import has_process, read_record
from maejobs.supervise.log import LOG_NAME, TIMES_NAME, read_times, time_at

FOLLOW_SECONDS = 0.3


@click.command("logs", cls=HomeCommand)
@run_argument
@click.option("-f", "--follow", is_flag=True, help="Go on as the run goes on, until it ends.")
@click.option("-t", "--timestamps", is_flag=True, help="Put before each line when it came.")
@click.option("-n", "--lines", type=click.IntRange(0), help="Only the last so many lines.")
def logs_command(run: str, follow: bool, timestamps: bool, lines: int | None) -> None:
    """Print what a run (of a job: the one under way, else the newest) wrote.

    On a terminal, control characters are shown instead of obeyed; piped, the bytes are as written.

    \b
    Example:
      maejobs logs pretrain -f
    """
    record = find_record(current_home(), run)
    directory = Path(record.directory)
    log = directory / LOG_NAME
    offset = _start_of_last(log, lines) if lines is not None else 0
    for start, line in _lines(log, offset, directory if follow else None):
        _print_line(line, _stamp(directory, start) if timestamps else "")


def _lines(log: Path, offset: int, follow: Path | None) -> Iterator[tuple[int, bytes]]:
    """The log's lines from byte `offset`, each with its own; to the run's end if followed."""
    while True:
        # Asked before reading, so that what comes between the two is read in the next round.
        goes_on = follow is not None and (run := read_record(follow)) and has_process(run)
        try:
            with log.open("rb") as file:
                file.seek(offset)
                for line in file:
                    if goes_on and not line.endswith(b"\n"):
                        break
                    yield offset, line
                    offset += len(line)
        except FileNotFoundError:
            pass
        if not goes_on:
            return
        time.sleep(FOLLOW_SECONDS)


def _print_line(line: bytes, stamp: str) -> None:
    if sys.stdout.isatty():
        click.echo(stamp + visible(line.decode(errors="replace")), nl=False)
    else:
        sys.stdout.buffer.write(stamp.encode() + line)
        sys.stdout.buffer.flush()


def _stamp(directory: Path, offset: int) -> str:
    at = time_at(read_times(directory / TIMES_NAME), offset)
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}  " if at else ""


def _start_of_last(log: Path, lines: int) -> int:
    try:
        data = log.read_bytes()
    except FileNotFoundError:
        return 0
    position = len(data)
    for _ in range(lines + (0 if data.endswith(b"\n") or not data else -1) + 1):
        position = data.rfind(b"\n", 0, position)
        if position < 0:
            return 0
    return position + 1
