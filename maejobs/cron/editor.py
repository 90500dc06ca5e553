"""Editing a table by hand as `crontab -e` does, but telling what is wrong and losing no text."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from maejobs import clock
from maejobs.cron.block import read_entries
from maejobs.cron.grammar import BadExpression, expression_of, parse_expression
from maejobs.cron.install import STAMP, Change, TableChanged, change_table
from maejobs.cron.target import TableRejected, Target, TargetError, Unfaithful
from maejobs.errors import MaejobsError, UserError
from maejobs.files import FILE_MODE, make_private_directory, write_atomically

KEPT_SUFFIX = ".edited"


def edit_table(
    target: Target,
    edit: Callable[[Path], None],
    ask_again: Callable[[str], bool],
    backups_dir: Path,
    dry_run: bool = False,
) -> Change | None:
    """Let `edit` change a copy of the table and install it; None if the text came back unchanged.

    What the host's checker or our block's reading refuses is shown to `ask_again`: True edits the
    same text again, False gives up. Raises UserError when given up, TableChanged when the table
    changed meanwhile, TargetError; each leaves a changed text in a file that its message names.
    """
    before = target.read() or b""
    with tempfile.TemporaryDirectory(prefix="maejobs-crontab-") as directory:
        file = Path(directory) / "crontab"  # the name by which editors know the syntax
        file.touch(FILE_MODE)
        file.write_bytes(before)
        try:
            text = _edit_until_valid(target, file, edit, ask_again)
            if text == before:
                return None
            build = partial(_exchange, target, before, text)
            return change_table(target, build, backups_dir, dry_run)
        except MaejobsError as error:
            text = file.read_bytes()
            if text == before:
                raise
            # A dry run writes nothing of ours, and yet nobody's text shall be lost.
            place = Path(tempfile.gettempdir()) if dry_run else make_private_directory(backups_dir)
            kept = _keep(text, place)
            kind = type(error) if isinstance(error, TargetError) else UserError
            raise kind(
                f"{error}\n{target.name} was left as it is; your text is in {kept}"
            ) from error


def _edit_until_valid(
    target: Target, file: Path, edit: Callable[[Path], None], ask_again: Callable[[str], bool]
) -> bytes:
    before = file.read_bytes()
    while True:
        edit(file)
        text = file.read_bytes()
        try:
            if text != before:
                check_text(target, text)
            return text
        except UserError as error:
            if not ask_again(str(error)):
                raise


def _exchange(target: Target, old: bytes, new: bytes, table: bytes) -> bytes:
    if table != old:
        raise TableChanged(f"{target.name} was changed by somebody else while you edited it")
    return new


def check_text(target: Target, text: bytes) -> None:
    """Refuse what the host's checker refuses, in our words where our grammar knows better.

    A line that cron takes is the user's business, even if it never fires. Raises TableRejected
    with the line, and BrokenBlock.
    """
    read_entries(text)
    try:
        target.check(text)
    except Unfaithful:
        raise  # nothing is wrong with the line's fields
    except TableRejected as error:
        if error.line is not None:
            line = text.split(b"\n")[error.line - 1].decode(errors="replace")
            expression = expression_of(line)
            try:
                parse_expression(expression)
            except BadExpression as better:
                column = line.index(expression) + better.column + 1
                raise TableRejected(str(better), error.line, column) from error
        raise


def _keep(text: bytes, directory: Path) -> Path:
    kept = directory / (clock.now().strftime(STAMP) + KEPT_SUFFIX)
    write_atomically(kept, text)
    return kept
