"""`maejobs completion`: the shell's completion script."""

import click
from click.shell_completion import get_completion_class

from maejobs.cli.options import HomeCommand


@click.command("completion", cls=HomeCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL: commands, options, jobs and runs.

    \b
    Example:
      maejobs completion bash >> ~/.bashrc
    """
    completion_class = get_completion_class(shell)
    assert completion_class is not None
    root = ctx.find_root().command
    click.echo(completion_class(root, {}, "maejobs", "_MAEJOBS_COMPLETE").source())
