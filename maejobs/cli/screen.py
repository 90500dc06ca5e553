"""What a run in the foreground looks like: its output, and a progress bar below on a terminal."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from maejobs.cli.text import one_line, shown_line
from maejobs.rundb.events import Event
from maejobs.supervise.log_reader import Line, read_lines


@dataclass(frozen=True)
class Look:
    """A run at one moment: new events, and a log whose new lines are to be shown."""

    run: str
    job: str
    log: Path
    events: Sequence[Event] = ()


class Screen:
    """Draws; blocks as long as nobody reads. Raises OSError where nobody can any more."""

    def __init__(self, quiet: bool) -> None:
        self._console = Console(highlight=False, markup=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[metric]}", markup=False),
            TimeRemainingColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None, metric="")
        self._shown = 0
        self._run = ""
        self._rest = b""
        self._ended = True

    def open(self) -> None:
        self._bar.start()

    def close(self) -> None:
        """Take the bar away; what the command left without a newline gets one."""
        self._bar.stop()
        if self._rest or not self._ended:
            click.echo(shown_line(self._rest))

    def show(self, look: Look) -> None:
        """New output, and how far the run is."""
        if look.run != self._run:
            if self._rest:  # of the attempt before
                self._console.print(shown_line(self._rest), soft_wrap=True)
            self._run, self._shown, self._rest = look.run, 0, b""
            self._bar.update(self._task, description=look.job)
        for event in look.events:
            if event.kind == "progress":
                self._bar.update(
                    self._task, completed=event.integer("step") or 0, total=event.integer("total")
                )
            elif event.kind == "metric" and (value := event.number("value")) is not None:
                name = one_line(event.words("name") or "")
                self._bar.update(self._task, metric=f"{name} {value:.4g}")
        self._show_output(look.log)

    def say(self, text: str) -> None:
        """A line of ours: above the bar on a terminal, else on standard error."""
        if self._bar.disable:
            click.echo(f"maejobs: {text}", err=True)
        else:
            self._console.print(f"maejobs: {text}", soft_wrap=True)

    def _show_output(self, log: Path) -> None:
        for line in _new_lines(log, self._shown):
            self._ended = line.text.endswith(b"\n")
            if not self._console.is_terminal:
                _write(line.text)
            elif self._ended:
                self._console.print(shown_line(line.text), soft_wrap=True)
            else:  # the bar stands on the line below, so only whole lines can be shown
                self._rest = line.text
                break
            self._rest = b""
            self._shown = line.end


def _write(data: bytes) -> None:
    """Straight to the descriptor: a buffer whose flush is stuck would keep Python from ending."""
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]


def _new_lines(log: Path, offset: int) -> Iterator[Line]:
    try:
        yield from read_lines(log, offset)
    except OSError:
        return
