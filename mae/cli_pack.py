"""`mae pack`: make a packed store, or check one."""

import json
import os
from pathlib import Path
from typing import Any

import click
from humanize import naturalsize

from mae.errors import BadInput


@click.command()
@click.argument("source", required=False)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="STORE",
    help="The store's directory; it appears when it is whole.",
)
@click.option(
    "--size",
    default="256",
    show_default=True,
    metavar="N|HxW",
    help="N: the shorter side at most, nothing cut off. HxW: the central part, exactly that size.",
)
@click.option(
    "--channels",
    type=click.Choice(["1", "3"]),
    help="Grey or colour. Default: 3; 1 for idx files.",
)
@click.option("--upright", is_flag=True, help="Turn photographs as their EXIF says.")
@click.option(
    "--workers", type=click.IntRange(min=0), help="Processes that decode. Default: one a CPU."
)
@click.option(
    "--on-bad",
    type=click.Choice(["skip", "fail"]),
    default="skip",
    show_default=True,
    help="What to do about an unreadable image; it is named in either case.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would be packed; write nothing.")
@click.option("--verify", type=click.Path(path_type=Path), metavar="STORE", help="Check a store.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def pack(
    context: click.Context,
    source: str | None,
    output: Path | None,
    size: str,
    channels: str | None,
    upright: bool,
    workers: int | None,
    on_bad: str,
    dry_run: bool,
    verify: Path | None,
    as_json: bool,
) -> None:
    """Pack the images of SOURCE into a store that is read without decoding.

    SOURCE is a folder of images, a directory of idx files, or tar shards (KEY.jpg with KEY.cls);
    give the store to `mae pretrain --data`. Interrupted, run it again to go on.

    \b
    mae pack /data/imagenet --output /data/imagenet-256
    mae pack shards/ --output small --size 96x96 --on-bad fail
    mae pack --verify /data/imagenet-256
    """
    if verify is not None:
        if source is not None or output is not None:
            raise click.UsageError("--verify STORE goes without SOURCE and --output")
        _verify(context, verify, as_json)
        return
    if source is None or output is None:
        raise click.UsageError("name a SOURCE and a STORE with --output, or a STORE with --verify")
    wanted = parse_size(size)
    from mae.train.stopping import Stop

    stop = Stop.listen()
    from mae.data.listing import list_source
    from mae.data.pack import pack as make_store
    from mae.data.pack_plan import Task, plan_of
    from mae.files import place_of
    from mae.train.events import Events
    from mae.train.progress import counting

    place = place_of(f"--output {output}", output)
    listing = list_source(source)
    number = int(channels) if channels else listing.channels
    task = Task(listing, place, wanted, number, upright)
    events, total = Events.from_environment(), len(listing)
    for text in listing.notes:
        events.note(text)
    if dry_run:
        stop.ignore()
        _print(plan_of(task), as_json)
        return
    with counting("packing", total, "images") as show:

        def shown(done: int) -> None:
            show(done)
            events.progress(done, total, done / total, last=done == total)

        processes = len(os.sched_getaffinity(0)) if workers is None else workers
        report = make_store(task, processes, on_bad == "skip", stop.reason, events.note, shown)
    if report["status"] == "completed":
        events.artifact("store", task.output)
    events.outcome(report["status"], report.get("reason", f"{output} is packed"))
    stop.ignore()
    _print(report, as_json)


def _verify(context: click.Context, store: Path, as_json: bool) -> None:
    from mae.data.store import damage, read_manifest
    from mae.train.progress import counting

    total = read_manifest(store)["bytes"]
    with counting("verifying", total, "bytes") as show:
        found = list(damage(store, show))
    if as_json:
        click.echo(json.dumps({"store": str(store), "sound": not found, "damage": found}, indent=2))
    else:
        for line in found:
            click.echo(line, err=True)
        verdict = f"damaged in {len(found)} places; pack it again" if found else "sound"
        click.echo(f"{click.format_filename(store)}: {verdict}")
    context.exit(1 if found else 0)


def _print(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    if report["status"] == "paused":
        click.echo(f"paused: {report['reason']}; {report['images']} images are packed")
        return
    size = naturalsize(report["bytes"])
    classes = f", {len(report['classes'])} classes" if report["classes"] else ""
    told = f"{report['train']} + {report['held_out']} held out{classes}"
    if report["status"] == "planned":
        done = f", {report['images']} packed already" if report["images"] else ""
        free = naturalsize(report["free"])
        click.echo(f"would pack {told}{done}: about {size} of {free} free")
        return
    left_out = f"; {len(report['bad'])} unreadable left out" if report["bad"] else ""
    click.echo(f"{click.format_filename(report['store'])}: {told}, {size}{left_out}")


def parse_size(text: str) -> int | tuple[int, int]:
    """A size as it is written: "256" or "224x192", height first.

    Raises BadInput for anything else.
    """
    numbers = text.lower().split("x")
    if not all(n.isascii() and n.isdecimal() and 0 < int(n) < 65536 for n in numbers):
        numbers = []
    if len(numbers) == 1:
        return int(numbers[0])
    if len(numbers) == 2:
        return int(numbers[0]), int(numbers[1])
    raise BadInput(f"--size {text}: write it as 256 (the shorter side) or 224x192 (height x width)")
