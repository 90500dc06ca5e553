"""Editing a table by hand as `crontab -e` does, but telling what is wrong and losing no text."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from maejobs.cron.block import ENCODING, ERRORS, read_entries
from maejobs.cron.desk import set_desk
from maejobs.cron.dialect import Dialect
from maejobs.cron.doubts import doubts_of
from maejobs.cron.grammar import BadExpression, expression_of, parse_expression
from maejobs.cron.install import Change, change_table, unless_changed
from maejobs.cron.repair import lay_out
from maejobs.cron.target import TableRejected, Target, Unfaithful
from maejobs.errors import UserError


class Decision(StrEnum):
    """What becomes of an edited table that may be installed."""

    INSTALL = "install"
    EDIT = "edit"
    GIVE_UP = "give up"


class BadEntry(TableRejected):
    """A line of ours whose expression was edited into one that `schedule` would refuse."""

    verdict = "this line of ours would not do as it says"


Decide = Callable[[Change, list[str]], Decision]


def edit_table(
    target: Target,
    edit: Callable[[Path], None],
    ask_again: Callable[[str], bool],
    decide: Decide,
    backups_dir: Path,
    dry_run: bool = False,
    dialect: Dialect = Dialect.DEBIAN,
) -> Change | None:
    """Let `edit` change a copy of the table and install it; None if the text came back unchanged.

    What the host's checker or our block's reading refuses is shown to `ask_again`: True edits the
    same text again, False gives up. A good one is shown to `decide` with what is doubtful in other
    people's lines. Raises UserError when given up, TableChanged when the table changed meanwhile,
    TargetError. Whatever is raised, a changed text stays in a file that a note of it names.
    """
    before = target.read()
    desk = set_desk(target, before or b"")
    try:
        change = _edit_until_decided(target, before, desk.file, edit, ask_again, decide, dialect)
        if not change.is_empty:
            build = unless_changed(target, before, change.after)
            change = change_table(target, build, backups_dir, dry_run)
    except BaseException as error:  # Ctrl-C too: nobody's text shall be lost
        if place := desk.rescue(before or b"", None if dry_run else backups_dir):
            error.add_note(f"{target.name} was left as it is; your text is in {place}")
        raise
    desk.clear()
    return None if change.is_empty else change


def _edit_until_decided(
    target: Target,
    before: bytes | None,
    file: Path,
    edit: Callable[[Path], None],
    ask_again: Callable[[str], bool],
    decide: Decide,
    dialect: Dialect,
) -> Change:
    while True:
        edit(file)
        change = Change(before, _edited(file))
        if change.is_empty:
            return change
        try:
            check_text(target, change.after, dialect)
        except UserError as error:
            if not ask_again(str(error)):
                raise
            continue
        doubts = doubts_of(change.after, before or b"", target.system, dialect)
        decision = decide(change, doubts)
        if decision is Decision.INSTALL:
            return change
        if decision is Decision.GIVE_UP:
            raise UserError("given up; nothing was installed")


def _edited(file: Path) -> bytes:
    """Raises UserError where the editor has left no file."""
    try:
        return file.read_bytes()
    except OSError as error:
        why = "it took the file away" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"the editor left no text ({why}); nothing was installed") from error


def check_text(target: Target, text: bytes, dialect: Dialect = Dialect.DEBIAN) -> None:
    """Refuse what the host's checker refuses, in our words where our grammar knows better.

    In our own lines our grammar for `dialect` decides; another's that cron takes is the user's
    business, even if it never fires. Raises TableRejected with the line, and BrokenBlock.
    """
    read_entries(text)
    for line in lay_out(text).ours:
        _refuse(BadEntry, line.number, line.raw, dialect)
    try:
        target.check(text)
    except Unfaithful:
        raise  # nothing is wrong with the line's fields
    except TableRejected as error:
        if error.line is not None:
            raw = text.split(b"\n")[error.line - 1]
            _refuse(TableRejected, error.line, raw, dialect)
        raise


def _refuse(kind: type[TableRejected], number: int, raw: bytes, dialect: Dialect) -> None:
    """Raise `kind` with line and column if our grammar refuses the expression on the line."""
    line = raw.decode(ENCODING, ERRORS)
    expression = expression_of(line)
    try:
        parse_expression(expression, dialect)
    except BadExpression as error:
        column = line.index(expression) + error.column + 1
        raise kind(str(error), number, column) from error
