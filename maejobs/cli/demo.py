"""`maejobs demo`: some nights in a throw-away home, everything real but the date."""

import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from maejobs.cli.options import HomeCommand, dry_run_option
from maejobs.cli.output import length, print_table, progress
from maejobs.errors import EXIT_FAILED
from maejobs.rehearsal import Firing, Stage, check_place, firings, set_stage, start_as_cron
from maejobs.rundb.database import open_database
from maejobs.rundb.queries import last_metrics, newest_runs

JOBS = ("pretrain", "evaluate", "rotate", "backup", "cleanup")
PLAIN_LINE_SECONDS = 10.0
COMPARED = {
    "reconstruction_mse": "reconstruction MSE",
    "reconstruction_psnr": "PSNR (dB)",
    "knn_top1": "kNN (%)",
    "random_knn_top1": "kNN untrained",
    "linear_top1": "probe (%)",
    "random_linear_top1": "probe untrained",
}


@click.command("demo", cls=HomeCommand)
@click.argument("directory", type=click.Path(path_type=Path), default=Path(".demo"))
@click.option(
    "--nights", default=3, show_default=True, type=click.IntRange(1, 14), help="How many nights."
)
@click.option(
    "--night-seconds",
    default=40,
    show_default=True,
    type=click.IntRange(10, 3600),
    help="How long pretraining's nights last.",
)
@dry_run_option
def demo_command(directory: Path, nights: int, night_seconds: int, dry_run: bool) -> int:
    """Rehearse some nights in DIRECTORY.

    It is made anew, and nothing else is touched. Schedules the shipped jobs into a crontab that is
    a file, then starts the file's lines as cron would, on a clock that is set to the night.

    \b
    Example:
      maejobs demo --nights 3
    """
    if dry_run:
        check_place(directory.absolute())
        click.echo(f"would make {directory} anew and train for {nights} × {night_seconds} s")
        return 0
    started = time.monotonic()
    stage = set_stage(directory.absolute(), night_seconds)
    campaign, backup = stage.home_dir / "campaigns/main", stage.home_dir / "backups/main"
    _tell("Make a home, and schedule five jobs into a crontab that is a file")
    stage.call("init")
    for job in JOBS:
        stage.call("schedule", job)
    _tell("The crontab, as `maejobs list` shows it")
    stage.call("list")
    _tell("What will run when: `maejobs next`")
    stage.call("next", "--count", "6")
    statuses: list[int] = []
    for firing in firings(stage, nights):
        if firing.entry.job == JOBS[0]:
            _tell(f"Night {1 + len(statuses) // len(JOBS)} of {nights}, started as cron would")
        statuses.append(_perform(stage, firing))
    _tell("What happened: `maejobs runs`, `maejobs status`")
    stage.call("runs")
    click.echo()
    stage.call("status")
    _tell("Which checkpoints are left, here and in the backup: `maejobs keep list`")
    stage.call("keep", "list", str(campaign), "--deep")
    stage.call("keep", "list", str(backup), "--deep")
    _tell("What the nights were worth, on images held out")
    good = _compare_nights(stage) and not any(statuses)
    click.echo()
    for picture in sorted((campaign / "pictures").glob("*.png")):
        click.echo(f"picture: {_short(picture)}")
    click.echo(f"\n{length(time.monotonic() - started)}; all of it is in {_short(stage.root)}")
    click.echo('Now for real: maejobs schedule pretrain "0 2 * * *"')
    if not good:
        click.echo("maejobs: the demo did not go as it should; see above", err=True)
    return 0 if good else EXIT_FAILED


def _perform(stage: Stage, firing: Firing) -> int:
    """Start one line and show how its run goes; the line's exit status."""
    began = time.monotonic()
    show = _Progress(stage, firing)
    status = start_as_cron(stage, firing, show.tick)
    show.clear()
    verdict = "done" if status == 0 else f"exit status {status}"
    told = f"{firing.entry.job:<9} {verdict} after {length(time.monotonic() - began)}"
    click.echo(f"{show.when}  {told}{show.last and ', ' + show.last}")
    return status


class _Progress:
    """What the run under way reports: on a terminal one line rewritten, else one now and then."""

    def __init__(self, stage: Stage, firing: Firing) -> None:
        from maejobs.cron.fires import scheduling_zone

        self._stage, self._job = stage, firing.entry.job
        self.when = f"{firing.at.astimezone(scheduling_zone()):%a %d %b %H:%M}"
        self.last = ""
        self._told = time.monotonic()
        self._terminal = sys.stdout.isatty()

    def tick(self) -> None:
        self.last = self._ask() or self.last
        if self._terminal:
            click.echo(f"\r\x1b[K{self.when}  {self._job:<9} {self.last}", nl=False)
        elif time.monotonic() - self._told >= PLAIN_LINE_SECONDS:
            self._told = time.monotonic()
            click.echo(f"{self.when}  {self._job:<9} {self.last}")

    def clear(self) -> None:
        self.last = self._ask() or self.last
        if self._terminal:
            click.echo("\r\x1b[K", nl=False)

    def _ask(self) -> str:
        with open_database(self._stage.home()) as engine:
            rows = newest_runs(engine, 1, job=self._job)
            if not rows or rows[0].step is None:
                return ""
            metrics = {m.name: m.value for m in last_metrics(engine, rows[0].id)}
        loss = f", loss {metrics['loss']:.3f}" if metrics.get("loss") is not None else ""
        return f"step {progress(rows[0].step, rows[0].total_steps)}{loss}"


def _compare_nights(stage: Stage) -> bool:
    """Print the evaluations night by night; whether each night went on where the last had ended."""
    with open_database(stage.home()) as engine:
        nights = list(reversed(newest_runs(engine, 100, job="pretrain")))
        evaluations = list(reversed(newest_runs(engine, 100, job="evaluate")))
        scores = [{m.name: m.value for m in last_metrics(engine, run.id)} for run in evaluations]
    rows = [
        [f"night {number}", progress(night.step, night.total_steps), *_figures(score)]
        for number, (night, score) in enumerate(zip(nights, scores, strict=False), 1)
    ]
    print_table(["", "steps", *COMPARED.values()], rows)
    exact = True
    for before, after in pairwise(nights):
        same = before.checkpoint_out is not None and before.checkpoint_out == after.checkpoint_in
        exact &= same
        name = Path(after.checkpoint_in or "nothing").name
        click.echo(f"{after.id} went on from {name}" + ("" if same else ": NOT where it had ended"))
    return exact and len(scores) == len(nights)


def _figures(score: dict[str, Any]) -> list[str]:
    return ["" if score.get(name) is None else f"{score[name]:.4g}" for name in COMPARED]


def _tell(text: str) -> None:
    click.echo("\n" + click.style(f"── {text}", bold=True))


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
