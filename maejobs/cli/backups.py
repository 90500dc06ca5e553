"""`maejobs backups` and `restore`: the crontab as it was before each change."""

from typing import Any

import click

from maejobs.cli.asking import agreed
from maejobs.cli.entries import backups_of, tell_backup_elsewhere
from maejobs.cli.options import (
    HomeCommand,
    current_home,
    dry_run_option,
    json_option,
    table_options,
)
from maejobs.cli.text import visible
from maejobs.cron.backups import Backup, find_backup, list_backups
from maejobs.cron.target import Target, open_target
from maejobs.errors import EXIT_USAGE, UserError
from maejobs.home import Home


@click.command("backups", cls=HomeCommand)
@table_options
@json_option
def backups_command(as_json: bool) -> None:
    """List the crontab's backups, one from before each change.

    Newest first. The newest 50 of each crontab are kept.

    \b
    Example:
      maejobs backups
    """
    from maejobs.cli.output import local, print_json, print_table, relative

    home = current_home()
    target = open_target(home.crontab)
    kept = [(backup, backup.read()) for backup in _backups(home, target)]
    rows: list[dict[str, Any]] = [
        {
            "number": number,
            "at": backup.at,
            "lines": table.count(b"\n"),
            "bytes": len(table),
            "path": str(backup.path),
        }
        for number, (backup, table) in enumerate(kept, 1)
    ]
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo(f"no backups of the {target.name}: maejobs has not changed it yet")
    else:
        print_table(
            ["", "until", "", "lines", "bytes", "file"],
            [
                [
                    str(row["number"]),
                    local(row["at"]),
                    relative(row["at"]),
                    str(row["lines"]),
                    str(row["bytes"]),
                    row["path"],
                ]
                for row in rows
            ],
        )


@click.command("restore", cls=HomeCommand)
@click.argument("backup", required=False)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@table_options
@dry_run_option
def restore_command(backup: str | None, yes: bool, dry_run: bool) -> int:
    """Make the crontab what it was before a change of maejobs.

    BACKUP is a number or a name from `maejobs backups`; without one, the newest that differs from
    the crontab. Everything in it is put back, other people's lines too, so the difference is
    shown first. Asks on a terminal; elsewhere --yes is needed. What is there now is backed up, so
    that a restore can be undone by another.

    \b
    Example:
      maejobs restore --dry-run
      maejobs restore 3
    """
    from maejobs.cron.install import Change, change_table, unless_changed

    home = current_home()
    target = open_target(home.crontab)
    table = target.read()
    change = Change(table, _chosen(home, target, table, backup).read())
    if change.is_empty:
        click.echo("the crontab is so already; nothing changed")
        return 0
    build = unless_changed(target, table, change.after)
    change_table(target, build, backups_of(home), dry_run=True)
    click.echo(visible(change.diff()), nl=False)
    if dry_run:
        click.echo("(dry run: nothing was written)")
        return 0
    if not yes and not agreed("Restore this crontab?"):
        click.echo("the crontab stays as it is")
        return EXIT_USAGE
    change_table(target, build, backups_of(home))
    tell_backup_elsewhere(home)
    _remember(home, change.before, change.after)
    click.echo("restored; `maejobs restore` undoes it")
    return 0


def _backups(home: Home, target: Target) -> list[Backup]:
    return list_backups(backups_of(home) / target.slug)


def _chosen(home: Home, target: Target, table: bytes | None, name: str | None) -> Backup:
    backups = _backups(home, target)
    if name is not None:
        return find_backup(backups, name)
    for backup in backups:
        if backup.read() != (table or b""):
            return backup
    raise UserError(f"no backup of the {target.name} differs from it; see `maejobs backups`")


def _remember(home: Home, before: bytes | None, after: bytes) -> None:
    """Note the schedules that changed; a table that cannot be read as ours has none to note."""
    from maejobs.cli.entries import remember_schedule
    from maejobs.cron.block import BrokenBlock, read_entries
    from maejobs.cron.schedule import belongs_to

    if not home.exists:
        return
    try:
        lines = set(read_entries(before or b"")) ^ set(read_entries(after))
    except BrokenBlock:
        return
    for job in sorted({entry.job for entry in lines if belongs_to(entry, home)}):
        remember_schedule(home, job)
