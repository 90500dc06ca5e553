"""A run in the foreground: its output as it comes, and a progress bar below it on a terminal."""

from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from maejobs.cli.text import visible
from maejobs.rundb.events import Event
from maejobs.rundb.run import Run
from maejobs.supervise.log import LOG_NAME


class Foreground:
    """Shows what `execute` tells its watcher."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(highlight=False, markup=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[metric]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None, metric="")
        self._shown = 0
        self._run_id = ""

    def __enter__(self) -> "Foreground":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def watch(self, run: Run, events: list[Event]) -> None:
        """Show new output and where the run is."""
        if self._quiet:
            return
        if run.id != self._run_id:
            self._run_id, self._shown = run.id, 0
            self._bar.update(self._task, description=run.job)
        for event in events:
            if event.kind == "progress":
                self._bar.update(
                    self._task, completed=event.integer("step") or 0, total=event.integer("total")
                )
            elif event.kind == "metric" and (value := event.number("value")) is not None:
                self._bar.update(self._task, metric=f"{event.words('name')} {value:.4g}")
        self._show_output(Path(run.directory) / LOG_NAME)

    def _show_output(self, log: Path) -> None:
        try:
            with log.open("rb") as file:
                file.seek(self._shown)
                data = file.read()
        except OSError:
            return
        self._shown += len(data)
        if data:
            self._console.print(visible(data.decode(errors="replace")), end="", soft_wrap=True)
