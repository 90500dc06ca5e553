"""`maejobs keep`: checkpoints rotated, listed and pinned."""

from dataclasses import asdict
from pathlib import Path

import click
import humanize

from maejobs.cli.backup import backup_command, restore_command
from maejobs.cli.cleanup import cleanup_command
from maejobs.cli.options import (
    HomeCommand,
    HomeGroup,
    become_owner_of,
    dry_run_option,
    json_option,
)
from maejobs.cli.output import local, print_json, print_table, tell_undeleted
from maejobs.cli.text import visible
from maejobs.errors import EXIT_FAILED

_directory = click.Path(exists=True, file_okay=False, path_type=Path)
_campaign = click.argument("campaign", type=_directory)
_checkpoint = click.argument("checkpoint", type=_directory)
_count = click.IntRange(0)


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
@click.option(
    "--diverged", default=2, show_default=True, type=_count, help="The newest N given up."
)
@click.option("--heads", default=3, show_default=True, type=_count, help="N heads of each recipe.")
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
    diverged: int,
    heads: int,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Delete the checkpoints of CAMPAIGN that no rule keeps.

    Rules add up. The newest valid checkpoint and pinned ones stay whatever the rules say. Of those
    that diverged, and of finished heads without their checkpoint, only the newest stay. Exit code 1
    where something could not be deleted; the rest goes all the same.

    \b
    Example:
      maejobs keep rotate ~/campaign --keep-last 3 --daily 7 --best 1 --metric reconstruction_mse
    """
    from maejobs.keep.retention import Policy
    from maejobs.keep.rotate import rotate

    become_owner_of(campaign)
    policy = Policy(
        keep_last, daily, weekly, monthly, best, metric, higher_is_better, diverged, heads
    )
    report = rotate(campaign, policy, dry_run)
    status = EXIT_FAILED if report.undeleted else 0
    tell_undeleted(report.undeleted)
    if as_json:
        decisions = [
            {"checkpoint": d.checkpoint.name, "keep": d.keep, "reasons": list(d.reasons)}
            for d in report.decisions
        ]
        told = {"decisions": decisions, "removed": report.removed, "freed": report.freed}
        beside = [
            {"name": d.beside.name, "keep": d.keep, "reasons": [d.reason]} for d in report.beside
        ]
        print_json(told | {"undeleted": report.undeleted, "beside": beside})
        return status
    if not report.decisions:
        click.echo(f"no checkpoints in {visible(str(campaign))}")
        return status
    drop = "would drop" if dry_run else "drop"
    print_table(
        ["checkpoint", "", "because"],
        [
            [d.checkpoint.name, "keep" if d.keep else drop, ", ".join(d.reasons)]
            for d in report.decisions
        ]
        + [[d.beside.name, "keep" if d.keep else drop, d.reason] for d in report.beside],
    )
    for remark in report.remarks:
        click.echo(visible(remark), err=True)
    freed = humanize.naturalsize(report.freed)
    click.echo(f"(dry run: {freed} would be freed)" if dry_run else f"freed {freed}")
    return status


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

    become_owner_of(campaign)
    checkpoints = read_checkpoints(campaign, deep)
    if as_json:
        print_json([asdict(checkpoint) for checkpoint in checkpoints])
        return
    if not checkpoints:
        click.echo(f"no checkpoints in {visible(str(campaign))}")
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
    from maejobs.keep.checkpoint import pin, require_checkpoint

    become_owner_of(checkpoint)
    if dry_run:
        require_checkpoint(checkpoint)
    else:
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
    from maejobs.keep.checkpoint import require_checkpoint, unpin

    become_owner_of(checkpoint)
    if dry_run:
        require_checkpoint(checkpoint)
    else:
        unpin(checkpoint)
    click.echo(f"{'would unpin' if dry_run else 'unpinned'} {checkpoint.name}")


keep_command.add_command(backup_command)
keep_command.add_command(restore_command)
keep_command.add_command(cleanup_command)
