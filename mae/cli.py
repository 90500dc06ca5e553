"""The `mae` command: parsing and printing; the work is done elsewhere, and imported when needed."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from mae.cli_evaluate import evaluate, features_command
from mae.cli_pack import pack
from mae.errors import told
from mae.exchange.commands import export_command, import_command
from mae.loading import loading
from mae.streams import be_patient, refuse_lost_output
from mae.text import on_one_line


class Commands(click.Group):
    """Turns what a user can mend into one line on stderr, unless --debug asks for all of it."""

    def __call__(self, *arguments: Any, **extra: Any) -> Any:
        be_patient()  # of the process itself: whoever calls `main.main` has streams of its own
        return super().__call__(*arguments, **extra)

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        with usage_in_one_line():
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with usage_in_one_line():
                result = super().invoke(ctx)
            # A night is good without its last line, and a supervisor has been told by events.
            if ctx.invoked_subcommand != "pretrain" and "MAEJOBS_EVENTS" not in os.environ:
                refuse_lost_output()
            return result
        except Exception as error:
            known = told(error)
            if known is None or ctx.params["debug"]:
                raise
            click.echo(f"mae: {on_one_line(known[0])}", err=True)
            ctx.exit(known[1])


@contextmanager
def usage_in_one_line() -> Iterator[None]:
    """Says what is wrong with the command line, and where help is, instead of click's three lines.

    The help that click shows where no command is given stays as it is.
    """
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        place = error.ctx.command_path if error.ctx else "mae"
        message = " ".join(error.format_message().split()).rstrip(".")
        click.echo(f"mae: {on_one_line(message)}; see `{place} --help`", err=True)
        raise click.exceptions.Exit(error.exit_code) from None


@click.group("mae", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def main(context: click.Context, debug: bool) -> None:
    """Pretrain Masked Autoencoders, a night at a time, and see what they have learnt."""
    # Campaigns are private, directories 0700 and files 0600. A caller in this process, a test
    # say, gets its own umask back.
    context.call_on_close(partial(os.umask, os.umask(0o077)))


@main.command()
@click.option(
    "--config", "name", required=True, metavar="PRESET|FILE", help="A preset's name or a TOML file."
)
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The campaign's directory. Training resumes from its newest valid checkpoint by itself.",
)
@click.option(
    "--data", help="Images: auto, sample, fashion-mnist, or a directory of idx files or of images."
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Optimiser steps of the whole campaign, whatever recipe.epochs says.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Decides weights, order, crops and masks.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any other setting.")
@click.option("--until-step", type=click.IntRange(min=1), help="Pause this night at a step.")
@click.option(
    "--processes", type=click.IntRange(min=1), help="Train in so many, one a GPU of this host."
)
@click.pass_context
def pretrain(
    context: click.Context,
    name: str,
    output: Path,
    data: str | None,
    steps: int | None,
    seed: int | None,
    settings: tuple[str, ...],
    until_step: int | None,
    processes: int | None,
) -> None:
    """Train for a night: to the end, MAEJOBS_DEADLINE, or TERM, and leave a checkpoint.

    Run it again to go on: a campaign keeps its config, but for what may change between nights.

    \b
    mae pretrain --config fashion-tiny --output campaigns/tiny
    mae pretrain --config my.toml --output runs/a --set recipe.epochs=30
    """
    from mae.train.processes import follow_parent, is_started_here, run_all
    from mae.train.ranks import joined, ranks_here
    from mae.train.stopping import Stop, deadline

    if processes is not None and is_started_here(processes):
        deadline()  # refused once, and not by each of them
        context.exit(run_all(processes, sys.argv[1:]))
    ranks = ranks_here()
    # Before the slow imports: a signal must not be lost in them.
    stop = Stop.listen(alone=ranks.world == 1)
    follow_parent()
    from mae.config_file import read_config
    from mae.train.events import Events

    options = {"--data": data, "--steps": steps, "--seed": seed}
    with joined(ranks, context.find_root().params["debug"]) as ranks:
        config = ranks.decided(partial(read_config, name, settings, options))
        with loading():
            from mae.train.loop import pretrain as train

        events = Events.from_environment() if ranks.first else Events(None, aloud=False)
        status, reason = train(output, config, stop, events, until_step, ranks)
        stop.ignore()
        if ranks.first:
            click.echo(f"{status}: {reason}")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def presets(as_json: bool) -> None:
    """List the configs that ship with mae, and the recipes that measure what was learnt.

    \b
    mae presets
    """
    from mae.config_file import presets as configs
    from mae.recipes import recipes

    known = configs() | recipes()
    if as_json:
        click.echo(json.dumps(known, indent=2))
        return
    for name, summary in known.items():
        click.echo(f"{name:<22}{summary}")


main.add_command(evaluate)
main.add_command(export_command)
main.add_command(features_command)
main.add_command(import_command)
main.add_command(pack)

if __name__ == "__main__":
    sys.exit(main())
