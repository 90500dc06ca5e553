"""`maejobs keep backup` and `restore`: checkpoints to another place and back, verified."""

from dataclasses import asdict
from pathlib import Path

import click
import humanize

from maejobs.cli.copying import copying
from maejobs.cli.options import HomeCommand, become_owner_of, dry_run_option, json_option
from maejobs.cli.output import print_json, tell_undeleted
from maejobs.cli.text import visible
from maejobs.errors import EXIT_FAILED

_directory = click.Path(exists=True, file_okay=False, path_type=Path)
_campaign = click.argument("campaign", type=_directory)


@click.command("backup", cls=HomeCommand)
@_campaign
@click.argument("destination", type=click.Path(file_okay=False, path_type=Path))
@click.option("--keep", default=2, show_default=True, type=click.IntRange(1), help="The newest N.")
@click.option("--verify", is_flag=True, help="Read what was backed up before, too.")
@click.option("--afresh", is_flag=True, help="Begin anew where copies were and are gone.")
@dry_run_option
@json_option
def backup_command(
    campaign: Path,
    destination: Path,
    keep: int,
    verify: bool,
    afresh: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Copy valid checkpoints to DESTINATION, and verify them.

    The newest of CAMPAIGN, and pinned ones, are compared with their SHA-256 before and after. Where
    DESTINATION held copies of it before and holds none, its disk is not mounted: nothing is copied.
    Exit code 1 if one that ought to be in the backup is not, or what made way cannot be deleted.

    \b
    Example:
      maejobs keep backup ~/campaign /mnt/nas/maejobs
    """
    from maejobs.keep.backup import back_up

    become_owner_of(campaign)
    with copying() as on_progress:
        report = back_up(campaign, destination, keep, dry_run, on_progress, verify, afresh)
    status = EXIT_FAILED if report.skipped or report.undeleted else 0
    tell_undeleted(report.undeleted)
    if as_json:
        print_json(asdict(report))
        return status
    copied = "would copy" if dry_run else "copied and verified"
    for name in report.copied:
        click.echo(f"{copied}: {name}")
    for name in report.verified:
        if name not in report.copied:
            click.echo(f"there already: {name}")
    for name, reason in report.skipped.items():
        click.echo(f"skipped: {name}: {visible(reason)}", err=True)
    for name in report.removed:
        click.echo(f"{'would drop' if dry_run else 'dropped'} from the backup: {name}")
    click.echo(f"{humanize.naturalsize(report.bytes)} to {visible(str(report.destination))}")
    return status


@click.command("restore", cls=HomeCommand)
@click.argument("backup", type=_directory)
@click.argument("campaign", type=click.Path(file_okay=False, path_type=Path))
@click.option("--step", type=click.IntRange(0), help="Which one (default: the newest valid).")
@dry_run_option
@json_option
def restore_command(
    backup: Path, campaign: Path, step: int | None, dry_run: bool, as_json: bool
) -> None:
    """Bring a checkpoint back from BACKUP to CAMPAIGN, verified.

    \b
    Example:
      maejobs keep restore /mnt/nas/maejobs/main ~/campaign
    """
    from maejobs.keep.backup import choose_backup, restore

    become_owner_of(campaign)
    if dry_run:
        chosen = choose_backup(backup, campaign, step)
    else:
        with copying() as on_progress:
            chosen = restore(backup, campaign, step, on_progress)
    if as_json:
        print_json(asdict(chosen))
    else:
        click.echo(f"{'would restore' if dry_run else 'restored'}: {chosen.name}")
