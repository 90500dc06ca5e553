"""`maejobs next`: the coming slots in order."""

from collections.abc import Iterator
from datetime import datetime, tzinfo
from heapq import merge
from itertools import islice

import click

from maejobs import clock
from maejobs.cli.options import (
    HomeCommand,
    home_to_show,
    json_option,
    optional_job_argument,
    table_options,
)
from maejobs.cli.output import local, print_json, print_table, relative
from maejobs.cli.pausing import paused_of, tell_paused
from maejobs.cli.zone import take_the_daemons_zone, tell_zone
from maejobs.cron.block import Entry
from maejobs.cron.dialect import Dialect, dialect_of
from maejobs.cron.fires import fires
from maejobs.cron.grammar import REBOOT, BadExpression, parse_expression
from maejobs.cron.schedule import entries_of
from maejobs.cron.target import open_target
from maejobs.cron.zone import schedule_zone
from maejobs.errors import UserError


@click.command("next", cls=HomeCommand)
@optional_job_argument
@click.option(
    "-n",
    "--count",
    default=10,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="How many slots.",
)
@table_options
@json_option
def next_command(job: str | None, count: int, as_json: bool) -> None:
    """Show the coming slots of all jobs, or of JOB, in order.

    On cron's clock; a line says so where yours shows another time.

    \b
    Example:
      maejobs next -n 5
    """
    home = home_to_show()
    take_the_daemons_zone(home)
    table = open_target(home.crontab).read() or b""
    entries = entries_of(table, home)
    if job is not None and not (entries := [entry for entry in entries if entry.job == job]):
        from maejobs.jobs.load import job_names, load_job

        if job not in job_names(home.jobs_dir):
            load_job(home.jobs_dir, job)  # a misspelt name is told as such
        raise UserError(f'{job} is not scheduled; `maejobs schedule {job} "0 2 * * *"` does it')
    at_boot = sorted({entry.job for entry in entries if entry.expression == REBOOT})
    dialect, zone = dialect_of(home), schedule_zone(home, table)
    slots = (_slots(entry, dialect, zone) for entry in entries)
    coming = list(islice(merge(*slots), count))
    paused = paused_of(home, (entry.job for entry in entries))
    if as_json:
        print_json(
            [
                {"at": at, "job": name, "expression": text, "paused": name in paused}
                for at, name, text in coming
            ]
        )
        return
    if not (coming or at_boot):
        click.echo('nothing is scheduled; try `maejobs schedule pretrain "0 2 * * *"`')
    elif coming:
        print_table(
            ["when", "", "job", "expression"],
            [[local(at, zone), relative(at), name, text] for at, name, text in coming],
        )
        tell_zone(zone, (at for at, _, _ in coming))
    if at_boot:
        click.echo(f"when the host starts: {', '.join(at_boot)}")
    tell_paused(paused)


def _slots(entry: Entry, dialect: Dialect, zone: tzinfo) -> Iterator[tuple[datetime, str, str]]:
    try:
        expression = parse_expression(entry.expression, dialect)
    except BadExpression as error:
        click.echo(f"maejobs: {entry.job}: {error}", err=True)
        return
    for fire in fires(expression, clock.now(), zone):
        yield fire, entry.job, entry.expression
