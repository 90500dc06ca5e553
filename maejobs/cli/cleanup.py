"""`maejobs keep cleanup`: old runs' logs and files."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import humanize

from maejobs import clock
from maejobs.cli.options import HomeCommand, dry_run_option, existing_home, json_option
from maejobs.cli.output import print_json
from maejobs.jobs.units import parse_duration, parse_size


def _read_by(parse: Callable[[object], Any]) -> Callable[..., Any]:
    """An option's callback that gives what `parse` makes of the value."""

    def read(ctx: click.Context, param: click.Parameter, value: str) -> Any:
        try:
            return parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return read


@click.command("cleanup", cls=HomeCommand)
@click.option(
    "--max-age",
    default="30d",
    show_default=True,
    metavar="DURATION",
    callback=_read_by(parse_duration),
    help="Older ones go.",
)
@click.option(
    "--max-size",
    default="2GB",
    show_default=True,
    metavar="SIZE",
    callback=_read_by(parse_size),
    help="Keep at most this much.",
)
@dry_run_option
@json_option
def cleanup_command(max_age: timedelta, max_size: int, dry_run: bool, as_json: bool) -> None:
    """Delete the logs and files of old runs.

    By age first, then oldest first down to a total size. A run under way and the newest run of each
    job are never touched. In the database, samples are thinned: two days after a run's end to one a
    minute, after 30 days to one an hour.

    \b
    Example:
      maejobs keep cleanup --max-age 30d --max-size 2GB --dry-run
    """
    from maejobs.keep.cleanup import clean_up
    from maejobs.keep.thinning import thin_samples
    from maejobs.rundb.database import open_database
    from maejobs.rundb.directory import read_record
    from maejobs.rundb.spool import spooled_runs
    from maejobs.supervise.claim import has_process

    def is_active(directory: Path) -> bool:
        run = read_record(directory)
        return run is not None and has_process(run)

    home = existing_home()
    spooled = set(spooled_runs(home.spool_dir))
    days = max_age / timedelta(days=1)
    report = clean_up(
        home.runs_dir, clock.now(), days, max_size, is_active, dry_run, protected=spooled
    )
    with open_database(home) as engine:
        thinned = thin_samples(engine, clock.now(), dry_run)
    if as_json:
        removed = [{"path": r.path, "bytes": r.bytes, "reason": r.reason} for r in report.removed]
        told = {"removed": removed, "kept": report.kept, "freed": report.freed}
        print_json(told | {"thinned": thinned._asdict()})
        return
    for removal in report.removed:
        word = "would remove" if dry_run else "removed"
        click.echo(f"{word} {removal.path.name}: {removal.reason}")
    click.echo(f"{report.kept} kept, {humanize.naturalsize(report.freed)} freed")
    if thinned.runs:
        word = "would be thinned" if dry_run else "thinned"
        click.echo(f"samples of {thinned.runs} runs {word}: {thinned.samples:,} rows fewer")
