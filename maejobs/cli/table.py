"""`maejobs list` and `edit`: the crontab as it is."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maejobs.cli.options import (
    HomeCommand,
    current_home,
    dry_run_option,
    json_option,
    table_options,
)
from maejobs.cli.text import visible
from maejobs.cron.target import open_target
from maejobs.errors import UserError

if TYPE_CHECKING:
    from maejobs.cron.install import Change
    from maejobs.cron.lines import Line
    from maejobs.cron.target import Target
    from maejobs.home import Home


@click.command("list", cls=HomeCommand)
@table_options
@json_option
def list_command(as_json: bool) -> int:
    """Print the crontab, byte for byte as `crontab -l` does.

    Its errors and its exit status are the same, too.

    \b
    Example:
      maejobs list
    """
    home = current_home()
    target = open_target(home.crontab)
    if as_json:
        return _print_as_json(target, home)
    listing = target.listing()
    click.echo(listing.stdout, nl=False)
    click.echo(listing.stderr, nl=False, err=True)
    return listing.status


@click.command("edit", cls=HomeCommand)
@click.option("-y", "--yes", is_flag=True, help="Install a good one without asking.")
@table_options
@dry_run_option
def edit_command(yes: bool, dry_run: bool) -> None:
    """Edit the crontab; a bad one is not installed.

    With $VISUAL or $EDITOR. What is wrong is shown with its line and column, and you may go on
    editing, as with `crontab -e`. The change is shown before it is installed, with warnings of
    lines that cron takes and does not do as they look; on a terminal you are asked. With --dry-run
    the edited table is checked and shown, not installed.

    \b
    Example:
      EDITOR=nano maejobs edit
    """
    from maejobs.cli.entries import backups_of, tell_backup_elsewhere
    from maejobs.cron.desk import rescue_broken_off
    from maejobs.cron.dialect import dialect_of
    from maejobs.cron.editor import Decision, edit_table

    home = current_home()
    target = open_target(home.crontab)
    if not dry_run:
        for place in rescue_broken_off(target, target.read() or b"", backups_of(home)):
            told = f"an edit of the {target.name} was broken off; its text is in {place}"
            click.echo(f"maejobs: {visible(told)}", err=True)

    def decide(change: "Change", doubts: list[str]) -> Decision:
        click.echo(visible(change.diff()), nl=False)
        for doubt in doubts:
            click.echo(f"warning: {visible(doubt)}", err=True)
        if yes or dry_run or not sys.stdin.isatty():
            return Decision.INSTALL
        return {"y": Decision.INSTALL, "e": Decision.EDIT, "n": Decision.GIVE_UP}[_answer()]

    change = edit_table(
        target,
        _edit,
        _ask_again,
        decide,
        backups_of(home),
        dry_run,
        dialect_of(home),
    )
    if change is None:
        click.echo("no change: the crontab stays as it is")
        return
    if not dry_run:
        tell_backup_elsewhere(home)
    click.echo("(dry run: nothing was written)" if dry_run else "installed")


def _answer() -> str:
    question = "Install it? [y]es, [e]dit again, [n]o"
    letters = click.Choice(["y", "e", "n"], case_sensitive=False)
    try:
        answer: str = click.prompt(question, type=letters, show_choices=False, err=True)
    except click.Abort:  # Ctrl-C or the end of input
        click.echo(err=True)
        return "n"
    return answer


def _edit(file: Path) -> None:
    # Ctrl-C is the editor's, as long as it runs, and its end is awaited whatever comes, for it may
    # still save. A handler, unlike SIG_IGN, is not inherited.
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in numbers}
    try:
        click.edit(filename=str(file))
    except click.ClickException as error:  # the editor is missing, or failed
        raise UserError(error.format_message()) from error
    except ValueError as error:  # a quote that is not closed
        told = f"$VISUAL or $EDITOR is no command ({error}); write it as for a shell"
        raise UserError(told) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if ends := [number for number in came if number != signal.SIGINT]:
        raise UserError(f"stopped by {signal.Signals(ends[0]).name}; nothing was installed")


def _ask_again(problem: str) -> bool:
    if not sys.stdin.isatty():
        return False
    click.echo(visible(problem), err=True)
    try:
        return click.confirm("Edit again?", default=True, err=True)
    except click.Abort:  # Ctrl-C or the end of input: give up, and keep the text
        click.echo(err=True)
        return False


def _print_as_json(target: "Target", home: "Home") -> int:
    from maejobs.cli.output import print_json
    from maejobs.cron.block import BrokenBlock, Entry, read_entries
    from maejobs.cron.dialect import dialect_of
    from maejobs.cron.lines import parse_lines

    table = target.read()
    lines = parse_lines(table or b"", target.system, dialect_of(home))
    entries: list[Entry] = []
    trouble: str | None = None
    try:
        entries = read_entries(table or b"")
    except BrokenBlock as error:
        trouble = str(error)
    print_json(
        {
            "table": None if table is None else table.decode(errors="backslashreplace"),
            "entries": [
                {"job": e.job, "expression": e.expression, "command": e.command} for e in entries
            ],
            "trouble": trouble,
            "lines": [_line_as_json(line) for line in lines],
        }
    )
    return 0 if table is not None else 1


def _line_as_json(line: "Line") -> dict[str, str | int]:
    """The parts that a line of its kind has."""
    parts = {
        "name": line.name,
        "value": line.value,
        "expression": line.expression,
        "user": line.user,
        "command": line.command,
        "stdin": line.stdin,
        "reason": line.reason,
    }
    told = {
        key: part.encode(errors="surrogateescape").decode(errors="backslashreplace")
        for key, part in parts.items()
        if part is not None
    }
    return {"number": line.number, "kind": line.kind.value, **told}
