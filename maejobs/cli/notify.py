"""`maejobs notify`: whether alerts arrive, what waits to be sent, and the sending itself."""

import click

from maejobs.cli.options import (
    HomeCommand,
    HomeGroup,
    become_owner_of,
    dry_run_option,
    existing_home,
    json_option,
)
from maejobs.cli.output import local, print_json, print_table, relative
from maejobs.cli.text import visible
from maejobs.errors import EXIT_FAILED, MaejobsError, UserError
from maejobs.home import BadSettings, Home


@click.group("notify", cls=HomeGroup)
def notify_command() -> None:
    """Test who is told of failures, and see what waits.

    \b
    Example:
      maejobs notify test
    """


@notify_command.command("test", cls=HomeCommand)
@dry_run_option
@json_option
def test_command(dry_run: bool, as_json: bool) -> int:
    """Send one message to each URL, and say what came of it.

    Quiet hours do not count. Of a URL only the scheme is shown, since any part of it may be a
    secret. Exit code 1 where one could not be told.

    \b
    Example:
      maejobs notify test
      maejobs notify test --dry-run
    """
    from maejobs.launch.process import host_name
    from maejobs.notify.post import Parcel, post
    from maejobs.notify.settings import read_settings, shown

    home = existing_home()
    urls = read_settings(home).urls
    if not urls:
        raise UserError(
            f"{home.config_file} tells nobody; put `urls` into its table [notify] (docs/alerts.md)"
        )
    title, body = "maejobs: a test", f"maejobs on {host_name()} can tell you this."
    results = []
    for number, url in enumerate(urls, 1):
        why = None if dry_run else post(Parcel(url, title, body))
        verdict = "not sent" if dry_run else "failed" if why else "sent"
        results.append({"number": number, "url": shown(url), "verdict": verdict, "why": why})
        if not as_json:
            told = f": {visible(why)}" if why else ""
            click.echo(f"{number} {visible(shown(url))}: {verdict}{told}")
    if as_json:
        print_json(results)
    return EXIT_FAILED if any(result["why"] for result in results) else 0


@notify_command.command("list", cls=HomeCommand)
@json_option
def list_command(as_json: bool) -> None:
    """List the alerts and pings that wait to be sent.

    \b
    Example:
      maejobs notify list
    """
    from maejobs.notify.outbox import log_file, waiting

    home = existing_home()
    messages = waiting(home)
    if as_json:
        print_json(
            [
                {
                    "message": message.name,
                    "kind": message.kind,
                    "run": message.run,
                    "title": message.title,
                    "created": message.created,
                    "tries": message.tries,
                    "next_try": message.next_try,
                    "expires": message.expires,
                    "trouble": message.trouble,
                }
                for message in messages
            ]
        )
    elif not messages:
        click.echo(f"nothing waits; {visible(str(log_file(home)))} tells what was sent")
    else:
        print_table(
            ["message", "since", "tries", "next", "trouble"],
            [
                [
                    message.name,
                    local(message.created),
                    str(message.tries),
                    relative(message.next_try),
                    message.trouble or "",
                ]
                for message in messages
            ],
        )
        _tell_quiet_hours(home)


def _tell_quiet_hours(home: Home) -> None:
    """Why what is for people waits though nothing is wrong with it."""
    from maejobs import clock
    from maejobs.cron.zone import zone_of_slots
    from maejobs.notify.quiet import quiet_until
    from maejobs.notify.settings import read_settings

    try:
        hours = read_settings(home).quiet_hours
    except UserError:  # which `notify test` tells
        return
    if until := quiet_until(clock.now(), hours, zone_of_slots(home)):
        click.echo(f"quiet hours: only pings are sent until {local(until)}")


@notify_command.command("send", cls=HomeCommand)
@dry_run_option
@json_option
def send_command(dry_run: bool, as_json: bool) -> int:
    """Send what is due, and again for two minutes what fails.

    First it looks whether a job has turned bad or well, and whether it is time for the digest. Runs
    and `reconcile` call this in a process that they do not wait for. Exit code 1 where
    something could not be sent; it is tried again then, less and less often, for some days.

    \b
    Example:
      maejobs notify send
      maejobs notify send --dry-run
    """
    from dataclasses import asdict

    from maejobs import clock
    from maejobs.cli.zone import take_the_daemons_zone
    from maejobs.cron.zone import zone_of_slots
    from maejobs.digest.mail import put_if_due
    from maejobs.notify.alerts import message_of
    from maejobs.notify.judge import judge
    from maejobs.notify.message import DIGEST
    from maejobs.notify.outbox import note, waiting
    from maejobs.notify.send import send
    from maejobs.notify.settings import read_settings
    from maejobs.watch.morning import digest_is_due

    try:
        home = existing_home()
    except BadSettings as error:
        if dry_run or not error.home.exists:
            raise
        home = error.home  # pings go out all the same
        become_owner_of(home.root)
    take_the_daemons_zone(home)
    if dry_run:
        now = clock.now()
        changes = judge(home, now, dry_run=True) if read_settings(home).urls else []
        names = [message_of(change, now, zone_of_slots(home)).name for change in changes]
        names += [f"{DIGEST} of the night"] if digest_is_due(home, now) else []
        names += [message.name for message in waiting(home)]
        if as_json:
            print_json([{"message": name} for name in names])
        else:
            click.echo("\n".join(f"would send {name}" for name in names) or "nothing waits")
        return 0
    try:
        put_if_due(home, clock.now())
    except (MaejobsError, OSError) as error:  # what waits already goes out all the same
        note(home, clock.now(), f"no digest: {error}")
    sent = []
    for one in send(home):
        sent.append(one)
        if not as_json:
            told = f"failed: {one.why}" if one.why else "sent"
            click.echo(visible(f"{one.message} to {one.to}: {told}"))
    if as_json:
        print_json([asdict(one) for one in sent])
    elif not sent:
        click.echo("nothing was due")
    return EXIT_FAILED if any(one.why for one in sent) else 0


def who_is_told(home: Home) -> str:
    """The home's alerts in a line, without a secret. Raises UserError for bad settings."""
    from maejobs.notify.settings import read_settings, shown

    urls = read_settings(home).urls
    return f"to {', '.join(map(shown, urls))}" if urls else "pings only"
