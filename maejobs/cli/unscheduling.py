"""`maejobs unschedule`: a job's lines out of the crontab."""

from collections.abc import Sequence

import click

from maejobs.cli.entries import (
    change_entries,
    entries_in,
    print_dry_run,
    remember_schedule,
    tell_backup_elsewhere,
    tell_strays,
)
from maejobs.cli.options import (
    QUOTE_IT,
    HomeCommand,
    current_home,
    dry_run_option,
    job_argument,
    json_option,
    table_options,
)
from maejobs.cron.block import Entry, read_entries
from maejobs.cron.schedule import belongs_to
from maejobs.cron.target import open_target
from maejobs.errors import UserError, quoted
from maejobs.home import Home


@click.command("unschedule", cls=HomeCommand, context_settings={"allow_extra_args": True})
@job_argument
@table_options
@click.argument("expression", required=False)
@dry_run_option
@json_option
def unschedule_command(job: str, expression: str | None, dry_run: bool, as_json: bool) -> None:
    """Take JOB out of the crontab.

    With EXPRESSION, only its entry of that expression. Its file, runs and checkpoints stay.

    \b
    Example:
      maejobs unschedule pretrain
      maejobs unschedule pretrain "0 14 * * *"
    """
    if click.get_current_context().args:
        raise click.UsageError(QUOTE_IT)
    home = current_home()

    def without(entries: Sequence[Entry]) -> list[Entry]:
        gone = _to_take_out(entries, home, job, expression)
        return [entry for entry in entries if entry not in gone]

    # Asked before anything is locked, so that a misspelt home is not half made.
    table = open_target(home.crontab).read() or b""
    entries = read_entries(table)
    tell_strays(table, home, job)
    without(entries)
    change = change_entries(home, without, dry_run)
    if not dry_run:
        tell_backup_elsewhere(home)
        if home.exists:
            remember_schedule(home, job)
    left = entries_in(change.after, home, job)
    removed = [old.expression for old in entries_in(change.before, home, job) if old not in left]
    if as_json:
        from maejobs.cli.output import print_json

        kept = [entry.expression for entry in left]
        print_json({"job": job, "removed": removed, "left": kept, "written": not dry_run})
        return
    for expression in removed:
        click.echo(f"{'would unschedule' if dry_run else 'unscheduled'} {job}: {expression}")
    if dry_run:
        print_dry_run(change)


def _to_take_out(
    entries: Sequence[Entry], home: Home, job: str, expression: str | None
) -> list[Entry]:
    """The job's entries, or those of the expression. Raises UserError where there is none."""
    mine = [e for e in entries if e.job == job and belongs_to(e, home)]
    if not mine:
        shown = quoted(job)[1:-1]  # whatever was typed, on one short line
        raise UserError(f"{shown} is not scheduled in the {open_target(home.crontab).name}")
    if expression is None:
        return mine
    found = [entry for entry in mine if entry.expression == " ".join(expression.split())]
    if not found:
        there = ", ".join(f'"{entry.expression}"' for entry in mine)
        raise UserError(f"{job} is not scheduled at {quoted(expression)}; it is at {there}")
    return found
