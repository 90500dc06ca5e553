"""Editing a table by hand as `crontab -e` does, but telling what is wrong and losing no text."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from maejobs import clock
from maejobs.cron.block import read_entries
from maejobs.cron.grammar import BadExpression, expression_of, parse_expression
from maejobs.cron.install import STAMP, Change, TableChanged, change_table
from maejobs.cron.target import TableRejected, Target
from maejobs.errors import MaejobsError, UserError
from maejobs.files import FILE_MODE, make_private_directory, write_atomically

KEPT_SUFFIX = ".edited"


def edit_table(
    target: Target,
    edit: Callable[[Path], None],
    ask_again: Callable[[str], bool],
    locks_dir: Path,
    backups_dir: Path,
) -> Change | None:
    """Let `edit` change a copy of the table and install it; None if the text came back unchanged.

    What the host's checker or our block's reading refuses is shown to `ask_again`: True edits the
    same text again, False gives up. Raises UserError when given up, TableChanged when the table
    changed meanwhile; both leave the table as it is and name the file that keeps the text.
    """
    before = target.read() or b""
    with tempfile.TemporaryDirectory(prefix="maejobs-crontab-") as directory:
        file = Path(directory) / "crontab"  # the name by which editors know the syntax
        file.touch(FILE_MODE)
        file.write_bytes(before)
        while True:
            edit(file)
            text = file.read_bytes()
            if text == before:
                return None
            try:
                check_text(target, text)
                break
            except UserError as error:
                if ask_again(str(error)):
                    continue
                kept = _keep(text, backups_dir)
                given_up = f"{error}\n{target.name} is as it was; your text is kept in {kept}"
                raise UserError(given_up) from error

    def replace(table: bytes) -> bytes:
        if table != before:
            raise TableChanged(f"{target.name} was changed by somebody else while you edited it")
        return text

    try:
        return change_table(target, replace, locks_dir, backups_dir)
    except MaejobsError as error:
        kept = _keep(text, backups_dir)
        raise type(error)(f"{error}; your text is kept in {kept}") from error


def check_text(target: Target, text: bytes) -> None:
    """Refuse what the host's checker refuses, in our words where our grammar knows better.

    A line that cron takes is the user's business, even if it never fires. Raises TableRejected
    with the line, and BrokenBlock.
    """
    read_entries(text)
    try:
        target.check(text)
    except TableRejected as error:
        if error.line is not None:
            line = text.split(b"\n")[error.line - 1].decode(errors="replace")
            try:
                parse_expression(expression_of(line))
            except BadExpression as better:
                raise TableRejected(str(better), error.line) from error
        raise


def _keep(text: bytes, backups_dir: Path) -> Path:
    kept = make_private_directory(backups_dir) / (clock.now().strftime(STAMP) + KEPT_SUFFIX)
    write_atomically(kept, text)
    return kept
