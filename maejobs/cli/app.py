"""The command group: which commands there are, and where each is found when it is called."""

import os
from importlib import import_module

import click
from click.shell_completion import CompletionItem

from maejobs import __version__
from maejobs.cli.options import HomeGroup

# The summaries stand here, and not only in the commands, so that `maejobs --help` need not import
# all of them; a test compares the two.
SECTIONS = {
    "Schedule": {
        "schedule": ("scheduling", "Put JOB into the crontab, or change when it runs."),
        "unschedule": ("unscheduling", "Take JOB out of the crontab."),
        "list": ("table", "Print the crontab, byte for byte as `crontab -l` does."),
        "diff": ("drift", "Show where the crontab differs from jobs.d."),
        "apply": ("drift", "Bring the crontab in line with jobs.d, after showing the change."),
        "adopt": ("adopt", "Take a line of the crontab that is not ours over as JOB."),
        "backups": ("backups", "List the crontab's backups, one from before each change."),
        "restore": ("backups", "Make the crontab what it was before a change of maejobs."),
        "edit": ("table", "Edit the crontab; a bad one is not installed."),
        "pause": ("pausing", "Keep JOB from starting until `resume`."),
        "resume": ("pausing", "Let a paused JOB run again, from its next slot on."),
        "check": ("check", "Check a schedule EXPRESSION and show when it fires."),
        "next": ("next", "Show the coming slots of all jobs, or of JOB, in order."),
        "plan": ("plan", "Draw the coming runs, how long they take, what collides."),
    },
    "Run": {
        "exec": ("called", "What cron calls: run JOB for the slot that is due."),
        "run": ("execution", "Run JOB now, in the foreground, with a progress bar."),
        "retry": ("execution", "Run the job of a run that ended badly once more."),
        "cancel": ("execution", "Stop a run in good order."),
    },
    "Look": {
        "status": ("status", "Show every job: last state, when next, how late."),
        "digest": ("digest", "Tell how the night went, and what to look at."),
        "jobs": ("jobs", "List the job files, and every error in them."),
        "runs": ("runs", "List the newest runs, of all jobs or of JOB."),
        "show": ("runs", "Show all that is known of a run."),
        "logs": ("logs", "Print what a run wrote, or follow it."),
        "samples": ("samples", "Show what a run took of its host, over time."),
    },
    "Keep house": {
        "init": ("upkeep", "Make the home, its job files and its database."),
        "daemon": ("daemon", "Start the table's jobs where no cron runs."),
        "doctor": ("doctor", "Check whether a night would work, point by point."),
        "watch": ("watch", "Set the record straight at boot and every five minutes."),
        "reconcile": ("upkeep", "Set the record straight: lost and missed runs."),
        "notify": ("notify", "Test who is told of failures, and see what waits."),
        "keep": ("keep", "Decide what stays: checkpoints, backups, old runs."),
        "db": ("database", "Look after the run database."),
        "completion": ("completion", "Print the completion script for SHELL."),
        "demo": ("demo", "Rehearse some nights in DIRECTORY."),
    },
}
COMMANDS = {name: found for section in SECTIONS.values() for name, found in section.items()}


class LateGroup(HomeGroup):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = import_module(f"maejobs.cli.{COMMANDS[name][0]}")
        command: click.Command = getattr(module, f"{name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, summary) for name, (_, summary) in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """As click's, from the summaries, so that the first word completes in a blink."""
        names = [
            CompletionItem(name, help=summary)
            for name, (_, summary) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


@click.group(
    cls=LateGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="%(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Schedules training jobs with the host's cron, supervises, records and shows them.

    \b
    Example:
      maejobs schedule pretrain "0 2 * * *"
      maejobs status
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
