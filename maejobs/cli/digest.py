"""`maejobs digest`: the night in one page."""

from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maejobs import clock
from maejobs.cli.options import HomeCommand, dry_run_option, existing_home, json_option
from maejobs.cli.output import print_json
from maejobs.cli.output_file import check_output_file
from maejobs.errors import EXIT_FAILED, UserError

if TYPE_CHECKING:
    from maejobs.digest.facts import Digest


@click.command("digest", cls=HomeCommand)
@click.option(
    "--since",
    "back",
    default="24h",
    show_default=True,
    metavar="DURATION",
    help="How far to look back.",
)
@click.option(
    "--html",
    "html_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write it to FILE as HTML, with the night's pictures.",
)
@click.option("--send", "sending", is_flag=True, help="Send it to those who are told of failures.")
@dry_run_option
@json_option
def digest_command(
    back: str, html_file: Path | None, sending: bool, dry_run: bool, as_json: bool
) -> int:
    """Tell how the night went, and what to look at.

    Did it run, how far did it get, are its checkpoints valid and copied elsewhere, what comes and
    what collides. Exit code 1 where something could not be read; the rest is told.

    \b
    Example:
      maejobs digest
      maejobs digest --since 12h --html morning.html
    """
    from maejobs.cli.zone import take_the_daemons_zone
    from maejobs.digest.gather import gather
    from maejobs.digest.html import as_html
    from maejobs.digest.text import as_text
    from maejobs.files import write_atomically
    from maejobs.notify.settings import read_settings

    home = existing_home()
    take_the_daemons_zone(home)
    length = _duration(back)
    if sending and not read_settings(home).urls:
        raise UserError(
            f"{home.config_file} tells nobody; put `urls` into its table [notify] (docs/alerts.md)"
        )
    if html_file:
        check_output_file(html_file, home)
    digest = gather(home, clock.now() - length)
    if html_file and not dry_run:
        write_atomically(html_file, as_html(digest).encode())
    if as_json:
        print_json(as_json_object(digest))
    else:
        click.echo(as_text(digest), nl=False)
    if sending and not dry_run:
        from maejobs.digest.mail import put
        from maejobs.notify.hooks import start_sender

        put(home, digest)
        start_sender(home)
    if not as_json:
        _confirm(html_file, sending, dry_run)
    return EXIT_FAILED if digest.trouble else 0


def as_json_object(digest: "Digest") -> dict[str, Any]:
    """The digest for programs; of pictures their size."""
    from maejobs.digest.facts import to_do

    told = asdict(replace(digest, pictures=()))
    pictures = [{"run": p.run, "name": p.name, "bytes": len(p.data)} for p in digest.pictures]
    return told | {"zone": str(digest.zone), "pictures": pictures, "to_do": to_do(digest)}


def _confirm(html_file: Path | None, sending: bool, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    if html_file:
        click.echo(f"\n{would}written to {click.format_filename(html_file)}")
    if sending:
        click.echo(f"\n{would or 'is '}on its way; `maejobs notify list` shows what waits")


def _duration(text: str) -> timedelta:
    from maejobs.jobs.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UserError(f"--since: {error}") from None
