"""`maejobs keep cleanup`: old runs' logs and files, and old history."""

import os
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import humanize

from maejobs import clock
from maejobs.cli.options import HomeCommand, dry_run_option, existing_home, json_option
from maejobs.cli.output import print_json, tell_undeleted
from maejobs.cli.text import visible
from maejobs.errors import EXIT_FAILED, MaejobsError
from maejobs.home import Home
from maejobs.jobs.units import parse_duration, parse_size

if TYPE_CHECKING:
    from maejobs.keep.cleanup import CleanupReport
    from maejobs.keep.trim import HistoryReport

LEAPT = (
    "nothing goes by its age yet: the home is new, reconcile was not there of late, or the clock "
    "has leapt"
)


def _read_by(parse: Callable[[object], Any]) -> Callable[..., Any]:
    """An option's callback that gives what `parse` makes of the value."""

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        try:
            return None if value is None else parse(value)
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
@click.option("--max-count", type=click.IntRange(0), help="Keep at most N of each job.")
@click.option(
    "--history-age",
    metavar="DURATION",
    callback=_read_by(parse_duration),
    help="Older runs go from the database too.",
)
@click.option("--history-count", type=click.IntRange(0), help="So do all but the newest N of each.")
@click.option(
    "--series-age",
    metavar="DURATION",
    callback=_read_by(parse_duration),
    help="Metrics of older runs go from it.",
)
@click.option(
    "--quiet-for",
    default="10m",
    show_default=True,
    metavar="DURATION",
    callback=_read_by(parse_duration),
    help="Pack the database only where no slot is due so soon.",
)
@dry_run_option
@json_option
def cleanup_command(
    max_age: timedelta,
    max_size: int,
    max_count: int | None,
    history_age: timedelta | None,
    history_count: int | None,
    series_age: timedelta | None,
    quiet_for: timedelta,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Delete the logs and files of old runs.

    By age first, then oldest first down to a total size. A run under way and the newest run of each
    job are never touched. In the database, samples are thinned: two days after a run's end to one a
    minute, after 30 days to one an hour; nothing else goes, unless an option on history says so.
    Nothing goes by its age in the first two days after the host's clock has leapt. Exit code 1
    where something could not be deleted; the rest goes all the same.

    \b
    Example:
      maejobs keep cleanup --max-age 30d --max-size 2GB --dry-run
      maejobs keep cleanup --history-age 365d --series-age 90d
    """
    from maejobs.keep.cleanup import clean_up
    from maejobs.keep.history import Limits
    from maejobs.keep.thinning import Thinned, thin_samples
    from maejobs.keep.trim import trim_history
    from maejobs.rundb.database import open_database
    from maejobs.rundb.directory import read_record
    from maejobs.rundb.spool import spooled_runs
    from maejobs.supervise.claim import has_process
    from maejobs.watch.heartbeat import clock_is_trusted

    def is_active(directory: Path) -> bool:
        run = read_record(directory)
        return run is not None and has_process(run)

    home = existing_home()
    now = clock.now()
    days: float | None = max_age / timedelta(days=1)
    limits = Limits(history_age, history_count, series_age)
    if not (by_age := clock_is_trusted(home, now)):
        days, limits = None, Limits(runs_count=history_count)
        click.echo(f"maejobs: {LEAPT}", err=True)
    spooled = set(spooled_runs(home.spool_dir))
    report = clean_up(
        home.runs_dir, now, days, max_size, is_active, dry_run, spooled, max_count=max_count
    )
    status = EXIT_FAILED if report.undeleted else 0
    tell_undeleted(report.undeleted)
    if not as_json:
        _tell_removals(report)  # what is done is told, even if the database turns out to be away
    removed = [{"path": r.path, "bytes": r.bytes, "reason": r.reason} for r in report.removed]
    told = {"removed": removed, "kept": report.kept, "freed": report.freed}
    told |= {"undeleted": report.undeleted, "by_age": by_age, "thinned": None, "history": None}
    history = None
    try:
        with open_database(home) as engine:
            thinned = thin_samples(engine, now, dry_run) if by_age else Thinned(0, 0)
        told["thinned"] = thinned._asdict()
        if limits.any:
            ourselves = os.environ.get("MAEJOBS_RUN_ID")
            due = _next_due(home, now)
            history = trim_history(home, now, limits, due, quiet_for, dry_run, ourselves)
            told["history"] = asdict(history)
    finally:
        if as_json:
            print_json(told)
    if as_json:
        return status
    if thinned.runs:
        word = "would be thinned" if dry_run else "thinned"
        click.echo(f"samples of {thinned.runs} runs {word}: {thinned.samples:,} rows fewer")
    if history:
        _tell(history)
    return status


def _tell_removals(report: "CleanupReport") -> None:
    for removal in report.removed:
        word = "would remove" if report.dry_run else "removed"
        click.echo(f"{word} {removal.path.name}: {removal.reason}")
    click.echo(f"{report.kept} kept, {humanize.naturalsize(report.freed)} freed")


def _tell(history: "HistoryReport") -> None:
    word = "would forget" if history.dry_run else "forgot"
    for job, reasons in history.runs.items():
        for reason, count in reasons.items():
            click.echo(f"{word} {count:,} runs of {visible(job)}: {reason}")
    for job, count in history.series.items():
        click.echo(f"{word} the series of {count:,} runs of {visible(job)}")
    if history.not_packed:
        click.echo(f"database not packed: {visible(history.not_packed)}")
    else:
        click.echo("database would be packed" if history.dry_run else "database packed")


def _next_due(home: Home, now: datetime) -> datetime | None:
    """When the next slot of the home's crontab is due; now, where that cannot be told."""
    from maejobs.cli.zone import take_the_daemons_zone
    from maejobs.cron.dialect import dialect_of
    from maejobs.cron.fires import next_fire
    from maejobs.cron.grammar import parse_expression
    from maejobs.cron.schedule import entries_of
    from maejobs.cron.target import open_target
    from maejobs.cron.zone import schedule_zone

    take_the_daemons_zone(home)
    try:
        table = open_target(home.crontab).read() or b""
        entries, zone = entries_of(table, home), schedule_zone(home, table)
        expressions = [parse_expression(entry.expression, dialect_of(home)) for entry in entries]
    except MaejobsError:
        return now
    fires = [next_fire(expression, now, zone) for expression in expressions]
    return min((fire for fire in fires if fire is not None), default=None)
