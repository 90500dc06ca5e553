"""`maejobs daemon`: a cron of our own, in the foreground."""

import sys

import click

from maejobs import clock
from maejobs.cli.options import HomeCommand, existing_home, table_options
from maejobs.cli.text import visible


@click.command("daemon", cls=HomeCommand)
@table_options
@click.option(
    "--grace",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="How long jobs may take to end after TERM.",
)
@click.option("--force", is_flag=True, help="Run although a cron daemon runs.")
def daemon_command(grace: float, force: bool) -> None:
    """Start the table's jobs where no cron runs.

    Stays in the foreground and reads the table as cron does, other people's lines too. TERM or
    Ctrl-C stops the jobs in good order; a second one, at once. HUP reads the table again.

    \b
    Example:
      maejobs daemon --grace 120
    """
    from maejobs.cron.target import OTHER_USER, open_target
    from maejobs.daemon.alone import only_daemon, running_cron
    from maejobs.daemon.log import Log
    from maejobs.daemon.service import Daemon
    from maejobs.errors import UserError

    home = existing_home()
    target = open_target(home.crontab)
    is_file = home.crontab.startswith("/")
    if not is_file and not force and (pid := running_cron()):
        raise UserError(
            f"a cron daemon runs (pid {pid}) and reads the {target.name}: each job would start "
            "twice; stop it, or give --force"
        )
    user = home.crontab.removeprefix(OTHER_USER) if home.crontab.startswith(OTHER_USER) else None
    log = Log(sys.stdout.fileno())

    def say(text: str) -> None:
        log.write(f"{clock.now():%Y-%m-%dT%H:%M:%SZ} daemon: {visible(text)}")

    with only_daemon(target):
        say("started; no mail is sent, jobs write to our output")
        Daemon(home, target, user, grace, say).run()
