"""`maejobs watch`: the lines of our block that set the record straight, whatever else happens."""

from collections.abc import Sequence

import click

from maejobs.cli.entries import (
    backups_of,
    command_of,
    refuse_anothers_home,
    tell_backup_elsewhere,
)
from maejobs.cli.options import (
    HomeCommand,
    HomeGroup,
    current_home,
    dry_run_option,
    existing_home,
    table_options,
)
from maejobs.cli.text import visible
from maejobs.cron.block import Entry, read_entries, replace_entries
from maejobs.cron.dialect import dialect_of
from maejobs.cron.grammar import REBOOT, BadExpression, parse_expression
from maejobs.cron.install import Change, change_table
from maejobs.cron.schedule import RECONCILE, is_reconcile
from maejobs.cron.target import open_target
from maejobs.home import Home

EVERY_FIVE_MINUTES = "2-59/5 * * * *"  # not in the minutes that jobs like to start in


@click.group("watch", cls=HomeGroup)
def watch_command() -> None:
    """Set the record straight at boot and every five minutes.

    \b
    Example:
      maejobs watch install
    """


@watch_command.command("install", cls=HomeCommand)
@table_options
@dry_run_option
def install_command(dry_run: bool) -> None:
    """Have cron call `reconcile` at boot and every five minutes.

    Two lines of our block in the crontab; a cron that knows no @reboot gets the second only. Lost
    and missed runs are then found within minutes, told apart from the host having been off, and
    made up for where the job file has `catch_up`.

    \b
    Example:
      maejobs watch install --dry-run
    """
    home = existing_home()
    refuse_anothers_home(home)
    change = _change(home, _lines(home), dry_run)
    _tell(change, "cron calls `reconcile` at boot and every five minutes", dry_run)


@watch_command.command("remove", cls=HomeCommand)
@table_options
@dry_run_option
def remove_command(dry_run: bool) -> None:
    """Take the lines of `watch install` out of the crontab.

    \b
    Example:
      maejobs watch remove
    """
    home = current_home()
    entries = read_entries(open_target(home.crontab).read() or b"")
    if not any(is_reconcile(entry, home) for entry in entries):
        existing_home()  # a misspelt one is told; lines of one that was deleted can be taken out
    change = _change(home, [], dry_run)
    if not dry_run:
        tell_backup_elsewhere(home)
    _tell(change, "cron does not call `reconcile`", dry_run)


def _lines(home: Home) -> list[Entry]:
    """At boot, where the home's cron knows that, and every five minutes. Raises UserError."""
    command = command_of(home, RECONCILE)
    return [
        Entry(RECONCILE, text, command)
        for text in (REBOOT, EVERY_FIVE_MINUTES)
        if _is_known(text, home)
    ]


def _is_known(text: str, home: Home) -> bool:
    try:
        parse_expression(text, dialect_of(home))
    except BadExpression:
        return False
    return True


def _change(home: Home, lines: Sequence[Entry], dry_run: bool) -> Change:
    """Put `lines` in the place of this home's of their kind; those that are so already stay."""

    def build(table: bytes) -> bytes:
        entries = read_entries(table)
        if [entry for entry in entries if is_reconcile(entry, home)] == list(lines):
            return table
        others = [entry for entry in entries if not is_reconcile(entry, home)]
        return replace_entries(table, [*others, *lines])

    return change_table(open_target(home.crontab), build, backups_of(home), dry_run)


def _tell(change: Change, what: str, dry_run: bool) -> None:
    if change.is_empty:
        click.echo(f"{what} already; nothing changed")
        return
    click.echo(visible(change.diff()), nl=False)
    click.echo("(dry run: nothing was written)" if dry_run else what)
