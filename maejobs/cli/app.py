"""The command group: which commands there are, and where each is found when it is called."""

from importlib import import_module

import click

from maejobs import __version__

COMMANDS = {
    "schedule": "scheduling",
    "unschedule": "scheduling",
    "list": "table",
    "edit": "table",
    "pause": "pausing",
    "resume": "pausing",
    "exec": "execution",
    "run": "execution",
    "retry": "execution",
    "cancel": "execution",
    "status": "status",
    "next": "status",
    "jobs": "jobs",
    "check": "jobs",
    "runs": "runs",
    "show": "runs",
    "logs": "logs",
    "keep": "keep",
    "reconcile": "upkeep",
    "init": "upkeep",
    "doctor": "doctor",
    "db": "database",
    "completion": "completion",
    "demo": "demo",
}


class LateGroup(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = import_module(f"maejobs.cli.{COMMANDS[name]}")
        command: click.Command = getattr(module, f"{name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            if near := get_close_matches(args[0], COMMANDS, 1):
                raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None
            raise


@click.group(
    cls=LateGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--home", metavar="DIR", help="The home directory (default: MAEJOBS_HOME, or yours).")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(__version__, message="%(version)s")
@click.pass_context
def cli(ctx: click.Context, home: str | None, debug: bool) -> None:
    """Schedules training jobs with the host's cron, supervises, records and shows them.

    \b
    Example:
      maejobs schedule pretrain "0 2 * * *"
      maejobs status
    """
    ctx.obj = {"home": home}
