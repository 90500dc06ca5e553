"""`mae evaluate` and `mae features`: what a checkpoint's encoder is worth, and what it makes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mae.loading import loading
from mae.text import on_one_line

if TYPE_CHECKING:
    from mae.evaluate.head_request import Request
    from mae.train.events import Events
    from mae.train.stopping import Stop


@click.command()
@click.argument("campaign", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Default: the newest valid one."
)
@click.option("--data", help="Other images than the campaign's.")
@click.option(
    "--recipe",
    metavar="RECIPE|FILE",
    help="Train a head by this recipe, and score that: see `mae presets`.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any setting of the recipe, or of the campaign's run section.",
)
@click.option("--dry-run", is_flag=True, help="Tell what --recipe would train; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    campaign: Path,
    checkpoint: Path | None,
    data: str | None,
    recipe: str | None,
    settings: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Score a checkpoint on held-out images and draw pictures, or train a head on it.

    With --recipe: linear probing or fine-tuning as published. It stops at MAEJOBS_DEADLINE or
    TERM; run it again to go on, with the checkpoint that it began with.

    \b
    mae evaluate campaigns/tiny
    mae evaluate campaigns/tiny --checkpoint step-000001500 --json
    mae evaluate campaigns/tiny --recipe linear/fashion-tiny --set learning.epochs=5
    """
    if recipe is None and (settings or dry_run):
        raise click.UsageError("--set and --dry-run go with --recipe")
    from mae.train.stopping import Paused, Stop

    stop = Stop.listen()
    from mae.train.events import Events

    events = Events.from_environment()
    if recipe is not None:
        from mae.evaluate.head_request import Request

        request = Request(campaign, recipe, settings, checkpoint, data)
        if dry_run:
            _tell_plan(request, events, as_json)
            return
    try:
        if recipe is not None:
            with loading():
                from mae.evaluate.head import train_head

            result = train_head(request, stop, events)
        else:
            with loading():
                from mae.evaluate.run import evaluate as score

            result = score(campaign, stop, events, checkpoint, data)
    except Paused as reason:
        _paused(stop, events, reason)
        return
    events.outcome("completed", f"{result['checkpoint']} is evaluated")
    stop.ignore()
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    by = f" by {result['recipe']}, {result['created']}" if recipe is not None else ""
    click.echo(on_one_line(f"{result['checkpoint']} on {result['data']}{by}"))
    width = max(map(len, result["metrics"]))
    for metric, value in result["metrics"].items():
        click.echo(f"  {metric:<{width}}{value:>10.4f}")


def _tell_plan(request: "Request", events: "Events", as_json: bool) -> None:
    from mae.evaluate.head import describe
    from mae.evaluate.head_request import plan_of

    told = describe(plan_of(request, events.note))
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(
        f"would train on {told['checkpoint']}: {told['steps']} steps, {told['done']} of them done, "
        f"{told['classes']} classes, {told['micro_batch']} images at once\n"
        f"in {told['directory']}\nto {told['result']}"
    )


def _paused(stop: "Stop", events: "Events", reason: Exception) -> None:
    events.outcome("paused", str(reason))
    stop.ignore()
    click.echo(f"paused: {reason}", err=True)


@click.command("features")
@click.argument("campaign", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE.npz",
    help="The file to write; must not exist.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "held-out", "both"]),
    default="both",
    show_default=True,
    help="Which images.",
)
@click.option(
    "--pool",
    type=click.Choice(["mean", "cls"]),
    default="mean",
    show_default=True,
    help="The mean of the patch tokens, or the class token.",
)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Default: the newest valid one."
)
@click.option("--data", help="Other images than the campaign's.")
@click.option("--dry-run", is_flag=True, help="Check everything and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def features_command(
    campaign: Path,
    output: Path,
    split: Any,
    pool: Any,
    checkpoint: Path | None,
    data: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write what a checkpoint's encoder makes of images, one row each, into a file.

    \b
    mae features campaigns/tiny --output tiny.npz
    mae features campaigns/tiny --output held-out.npz --split held-out --pool cls
    """
    from mae.train.stopping import Paused, Stop

    stop = Stop.listen()
    with loading():
        from mae.evaluate.extract import Wanted, extract
    from mae.train.events import Events

    events = Events.from_environment()
    wanted = Wanted(campaign, output, split, pool, checkpoint, data)
    try:
        meta = extract(wanted, stop, events, dry_run)
    except Paused as reason:
        _paused(stop, events, reason)
        return
    if not dry_run:
        events.outcome("completed", f"{output} is written")
    stop.ignore()
    if as_json:
        click.echo(json.dumps({**meta, "output": str(output), "written": not dry_run}, indent=2))
        return
    verb = "would write" if dry_run else "wrote"
    size = f"{meta['images']} × {meta['width']} features of {meta['data']}"
    click.echo(f"{verb} {output}: {size} by {meta['checkpoint']}")
