"""A run in the foreground: its output as it comes, and a progress bar below it on a terminal."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from maejobs.cli.text import one_line, shown_line
from maejobs.rundb.events import Event
from maejobs.rundb.run import Run
from maejobs.supervise.log import LOG_NAME
from maejobs.supervise.log_reader import Line, read_lines


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Rich would end the process here, and leave the command without its supervisor."""
        raise BrokenPipeError


class Foreground:
    """Shows what `execute` tells its watcher. Who looks on may go away; the run goes on."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = _Console(highlight=False, markup=False)
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
        self._run_id = ""
        self._rest = b""
        self._ended = True

    def __enter__(self) -> "Foreground":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._bar.stop()
            if self._rest or not self._ended:
                click.echo(shown_line(self._rest))
        except OSError:
            self._quiet = True

    def watch(self, run: Run, events: list[Event]) -> None:
        """Show new output and where the run is."""
        if self._quiet:
            return
        try:
            self._show(run, events)
        except OSError:  # the reader of a pipe (`| head`) or the terminal is gone
            self._quiet = True
            self._bar.disable = True

    def _show(self, run: Run, events: list[Event]) -> None:
        if run.id != self._run_id:
            if self._rest:  # of the attempt before
                self._console.print(shown_line(self._rest), soft_wrap=True)
            self._run_id, self._shown, self._rest = run.id, 0, b""
            self._bar.update(self._task, description=run.job)
        for event in events:
            if event.kind == "progress":
                self._bar.update(
                    self._task, completed=event.integer("step") or 0, total=event.integer("total")
                )
            elif event.kind == "metric" and (value := event.number("value")) is not None:
                name = one_line(event.words("name") or "")
                self._bar.update(self._task, metric=f"{name} {value:.4g}")
        self._show_output(Path(run.directory) / LOG_NAME)

    def _show_output(self, log: Path) -> None:
        for line in _new_lines(log, self._shown):
            self._ended = line.text.endswith(b"\n")
            if not self._console.is_terminal:
                sys.stdout.buffer.write(line.text)
            elif self._ended:
                self._console.print(shown_line(line.text), soft_wrap=True)
            else:  # the bar stands on the line below, so only whole lines can be shown
                self._rest = line.text
                break
            self._rest = b""
            self._shown = line.end
        sys.stdout.buffer.flush()


def _new_lines(log: Path, offset: int) -> Iterator[Line]:
    try:
        yield from read_lines(log, offset)
    except OSError:
        return
