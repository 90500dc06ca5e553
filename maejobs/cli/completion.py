"""`maejobs completion`: the shell's completion script."""

import click
from click.shell_completion import get_completion_class

from maejobs.cli.errors import COMPLETION_VARIABLE, PROGRAM
from maejobs.cli.options import HomeCommand


@click.command("completion", cls=HomeCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    Commands, options, jobs and run ids complete.

    \b
    Example:
      maejobs completion bash >> ~/.bashrc
    """
    completion_class = get_completion_class(shell)
    assert completion_class is not None
    complete = completion_class(ctx.find_root().command, {}, PROGRAM, COMPLETION_VARIABLE)
    # Not `source()`: it starts a bash to ask for its version, on a host that may have none.
    click.echo(complete.source_template % complete.source_vars())
