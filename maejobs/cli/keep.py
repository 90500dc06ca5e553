"""`maejobs keep`: checkpoints rotated, backed up and pinned; old runs cleaned up."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import humanize

from maejobs import clock
from maejobs.cli.copying import copying
from maejobs.cli.options import HomeCommand, HomeGroup, dry_run_option, existing_home, json_option
from maejobs.cli.output import local, print_json, print_table
from maejobs.cli.text import visible
from maejobs.errors import EXIT_FAILED
from maejobs.jobs.units import parse_duration, parse_size
from maejobs.keep.checkpoint import StoredCheckpoint

_directory = click.Path(exists=True, file_okay=False, path_type=Path)
_campaign = click.argument("campaign", type=_directory)
_checkpoint = click.argument("checkpoint", type=_directory)
_count = click.IntRange(0)


def _read_by(parse: Callable[[object], Any]) -> Callable[..., Any]:
    """An option's callback that gives what `parse` makes of the value."""

    def read(ctx: click.Context, param: click.Parameter, value: str) -> Any:
        try:
            return parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return read


@click.group("keep", cls=HomeGroup)
def keep_command() -> None:
    """Decide what stays: checkpoints, backups, old runs.

    \b
    Example:
      maejobs keep rotate ~/campaign --keep-last 3 --daily 7 --dry-run
    """


@keep_command.command("rotate", cls=HomeCommand)
@_campaign
@click.option("--keep-last", default=3, show_default=True, type=_count, help="The newest N.")
@click.option("--daily", default=0, type=_count, help="The newest of each of N days.")
@click.option("--weekly", default=0, type=_count, help="The newest of each of N weeks.")
@click.option("--monthly", default=0, type=_count, help="The newest of each of N months.")
@click.option("--best", default=0, type=_count, help="The N best by --metric.")
@click.option("--metric", help="What --best goes by, such as reconstruction_mse.")
@click.option("--higher-is-better", is_flag=True, help="For metrics such as knn_top1.")
@dry_run_option
@json_option
def rotate_command(
    campaign: Path,
    keep_last: int,
    daily: int,
    weekly: int,
    monthly: int,
    best: int,
    metric: str | None,
    higher_is_better: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Delete the checkpoints of CAMPAIGN that no rule keeps.

    Rules add up. The newest valid checkpoint and pinned ones stay whatever the rules say.

    \b
    Example:
      maejobs keep rotate ~/campaign --keep-last 3 --daily 7 --best 1 --metric reconstruction_mse
    """
    from maejobs.keep.retention import Policy
    from maejobs.keep.rotate import rotate

    policy = Policy(keep_last, daily, weekly, monthly, best, metric, higher_is_better)
    report = rotate(campaign, policy, dry_run)
    if as_json:
        decisions = [
            {"checkpoint": d.checkpoint.name, "keep": d.keep, "reasons": list(d.reasons)}
            for d in report.decisions
        ]
        print_json({"decisions": decisions, "removed": report.removed, "freed": report.freed})
        return
    drop = "would drop" if dry_run else "drop"
    print_table(
        ["checkpoint", "", "because"],
        [
            [d.checkpoint.name, "keep" if d.keep else drop, ", ".join(d.reasons)]
            for d in report.decisions
        ],
    )
    for remark in report.remarks:
        click.echo(visible(remark), err=True)
    freed = humanize.naturalsize(report.freed)
    click.echo(f"(dry run: {freed} would be freed)" if dry_run else f"freed {freed}")


@keep_command.command("backup", cls=HomeCommand)
@_campaign
@click.argument("destination", type=click.Path(file_okay=False, path_type=Path))
@click.option("--keep", default=2, show_default=True, type=click.IntRange(1), help="The newest N.")
@click.option("--verify", is_flag=True, help="Read what was backed up before, too.")
@dry_run_option
@json_option
def backup_command(
    campaign: Path, destination: Path, keep: int, verify: bool, dry_run: bool, as_json: bool
) -> int:
    """Copy valid checkpoints to DESTINATION, and verify them.

    The newest of CAMPAIGN, and pinned ones, are compared with their SHA-256 before and after.
    Exit code 1 if one that ought to be in the backup is not.

    \b
    Example:
      maejobs keep backup ~/campaign /mnt/nas/maejobs
    """
    from maejobs.keep.backup import back_up

    with copying() as on_progress:
        report = back_up(campaign, destination, keep, dry_run, on_progress, verify)
    status = EXIT_FAILED if report.skipped else 0
    if as_json:
        from dataclasses import asdict

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
    click.echo(f"{humanize.naturalsize(report.bytes)} to {report.destination}")
    return status


@keep_command.command("restore", cls=HomeCommand)
@click.argument("backup", type=_directory)
@click.argument("campaign", type=click.Path(file_okay=False, path_type=Path))
@click.option("--step", type=_count, help="Which one (default: the newest valid).")
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

    if dry_run:
        chosen = choose_backup(backup, campaign, step)
    else:
        with copying() as on_progress:
            chosen = restore(backup, campaign, step, on_progress)
    if as_json:
        print_json(_described(chosen))
    else:
        click.echo(f"{'would restore' if dry_run else 'restored'}: {chosen.name}")


@keep_command.command("list", cls=HomeCommand)
@_campaign
@click.option("--deep", is_flag=True, help="Compare SHA-256, not only sizes.")
@json_option
def list_checkpoints_command(campaign: Path, deep: bool, as_json: bool) -> None:
    """List the checkpoints of CAMPAIGN, and whether they are valid.

    \b
    Example:
      maejobs keep list ~/campaign --deep
    """
    from maejobs.keep.checkpoint import read_checkpoints

    checkpoints = read_checkpoints(campaign, deep)
    if as_json:
        print_json([_described(checkpoint) for checkpoint in checkpoints])
        return
    if not checkpoints:
        click.echo(f"no checkpoints in {campaign}")
        return
    print_table(
        ["checkpoint", "written", "size", "valid", "pinned"],
        [
            [
                c.name,
                local(c.created),
                humanize.naturalsize(c.bytes),
                c.problem or "yes",
                "yes" if c.pinned else "",
            ]
            for c in checkpoints
        ],
    )


@keep_command.command("pin", cls=HomeCommand)
@_checkpoint
@dry_run_option
def pin_command(checkpoint: Path, dry_run: bool) -> None:
    """Keep CHECKPOINT whatever the rules say; it is a step-… directory.

    \b
    Example:
      maejobs keep pin ~/campaign/checkpoints/step-000001200
    """
    from maejobs.keep.checkpoint import pin

    if not dry_run:
        pin(checkpoint)
    click.echo(f"{'would pin' if dry_run else 'pinned'} {checkpoint.name}")


@keep_command.command("unpin", cls=HomeCommand)
@_checkpoint
@dry_run_option
def unpin_command(checkpoint: Path, dry_run: bool) -> None:
    """Let the rules decide on CHECKPOINT again.

    \b
    Example:
      maejobs keep unpin ~/campaign/checkpoints/step-000001200
    """
    from maejobs.keep.checkpoint import unpin

    if not dry_run:
        unpin(checkpoint)
    click.echo(f"{'would unpin' if dry_run else 'unpinned'} {checkpoint.name}")


@keep_command.command("cleanup", cls=HomeCommand)
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
    job are never touched; nor is the database.

    \b
    Example:
      maejobs keep cleanup --max-age 30d --max-size 2GB --dry-run
    """
    from maejobs.keep.cleanup import clean_up
    from maejobs.rundb.spool import spooled_runs
    from maejobs.supervise.claim import has_process, read_record

    def is_active(directory: Path) -> bool:
        run = read_record(directory)
        return run is not None and has_process(run)

    home = existing_home()
    spooled = set(spooled_runs(home.spool_dir))
    days = max_age / timedelta(days=1)
    report = clean_up(
        home.runs_dir, clock.now(), days, max_size, is_active, dry_run, protected=spooled
    )
    if as_json:
        removed = [{"path": r.path, "bytes": r.bytes, "reason": r.reason} for r in report.removed]
        print_json({"removed": removed, "kept": report.kept, "freed": report.freed})
        return
    for removal in report.removed:
        word = "would remove" if dry_run else "removed"
        click.echo(f"{word} {removal.path.name}: {removal.reason}")
    click.echo(f"{report.kept} kept, {humanize.naturalsize(report.freed)} freed")


def _described(checkpoint: StoredCheckpoint) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(checkpoint)
