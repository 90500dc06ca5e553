"""Our lines inside a table: found by their markers, spliced as bytes, all else left as it is.

    # >>> maejobs (managed: use `maejobs schedule` and `maejobs unschedule`) >>>
    0 2 * * * /opt/venv/bin/maejobs exec pretrain # maejobs:pretrain
    # <<< maejobs <<<

The opening marker says `+newline` where the table before it lacked its final newline, so that
taking the block out gives back the very bytes. python-crontab is no help even for our own lines:
reading, it turns a path's `\\%` into a newline.
"""

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from maejobs.errors import UserError

BEGIN = b"# >>> maejobs"
END = b"# <<< maejobs"
BEGIN_LINE = re.compile(rb"# >>> maejobs(?P<newline> \+newline)?(?: \(.*\))? >>>")
END_LINE = re.compile(rb"# <<< maejobs <<<")
HINT = b" (managed: use `maejobs schedule` and `maejobs unschedule`) >>>"
ENTRY_LINE = re.compile(
    r"(?P<expression>@[^ \t]+|[^ \t#@]+(?:[ \t]+[^ \t]+){4})[ \t]+(?P<command>[^ \t](?:.*[^ \t])?)"
    r"[ \t]+# maejobs:(?P<job>[A-Za-z0-9][A-Za-z0-9_.-]*)"
)
OWN_BACKSLASH = re.compile(r"\\(?=[\\%])")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
BLANKS = re.compile(r"[ \t]+")
# In and out again, whatever bytes a path holds.
ENCODING, ERRORS = "utf-8", "surrogateescape"


@dataclass(frozen=True)
class Entry:
    """One line of ours; `command` stands between the expression and the trailing comment.

    `raw` is the line it was read from, without newline, which stays as it is: its blanks may be a
    hand's, and the line another home's.
    """

    job: str
    expression: str  # with single spaces
    command: str
    raw: bytes | None = field(default=None, compare=False, repr=False)


class BrokenBlock(UserError):
    """Our block is half there, there twice, or holds a line that is not ours."""

    def __init__(self, line: int, reason: str) -> None:
        self.line = line
        super().__init__(
            f"line {line} of the crontab: {reason}. Nothing was written; `maejobs diff` shows what "
            "`maejobs apply` does to make the block whole"
        )


def exec_command(executable: Path, job: str, home: Path | None) -> str:
    """The command of a line of ours, quoted so that cron and then sh read the paths right.

    Raises UserError for a control character, which no crontab line can hold, and for letters of
    which a locale in another encoding than the table's would make others.
    """
    words = [str(executable), "exec", job, *(("--home", str(home)) if home else ())]
    return " ".join(map(_quote, words))


def _quote(word: str) -> str:
    """`word` for sh, with `%` escaped for cron.

    Cron drops the backslash of `\\%`, and Debian's that of `\\\\` too, before sh sees either. So
    a backslash of the path's own is kept apart from one or a `%` behind it by an empty string.
    """
    if CONTROL.search(word):
        raise UserError(f"{word!a}: a crontab line cannot hold a control character; rename it")
    if os.fsencode(word) != word.encode(ENCODING, ERRORS):
        raise UserError(
            f"{word}: the locale is not of UTF-8, so cron would look elsewhere; "
            "set LC_ALL=C.UTF-8 and try again"
        )
    return OWN_BACKSLASH.sub(r"\\''", shlex.quote(word)).replace("%", "\\%")


def render_block(entries: Sequence[Entry], newline_added: bool = False) -> bytes:
    """The block's bytes, markers included.

    Raises UserError for an entry that would not be read back as it is.
    """
    begin = BEGIN + (b" +newline" if newline_added else b"") + HINT
    return b"\n".join([begin, *map(_render_entry, entries), END + b" <<<", b""])


def _render_entry(entry: Entry) -> bytes:
    if entry.raw is not None:
        return entry.raw
    line = f"{entry.expression} {entry.command} # maejobs:{entry.job}"
    raw = line.encode(ENCODING, ERRORS)
    if CONTROL.search(line) or parse_entry(raw) != entry:
        raise UserError(f"cannot stand on a crontab line: {line!a}")
    return raw


def parse_entry(raw: bytes) -> Entry | None:
    """The entry on a line without its newline; None: it is not one of ours."""
    line = raw.decode(ENCODING, ERRORS)
    match = ENTRY_LINE.fullmatch(line)
    if match is None or CONTROL.search(line.replace("\t", " ")):
        return None
    return Entry(match["job"], BLANKS.sub(" ", match["expression"]), match["command"], raw)


def begins_block(line: bytes) -> bool:
    """Whether a line is our opening marker, blanks around it or not; no other comment is."""
    return BEGIN_LINE.fullmatch(line.strip()) is not None


def is_marker(line: bytes) -> bool:
    """Whether a line is one of our two markers, blanks around it or not."""
    return begins_block(line) or END_LINE.fullmatch(line.strip()) is not None


def read_entries(table: bytes) -> list[Entry]:
    """The entries of our block, none if there is no block.

    Raises BrokenBlock, naming the line, rather than guessing what a damaged block meant.
    """
    found = _find(table)
    return list(found.entries) if found else []


def replace_entries(table: bytes, entries: Sequence[Entry]) -> bytes:
    """`table` with our block holding `entries`: spliced in place, appended, or taken out if empty.

    Taking out a block that was appended gives back the bytes from before. Raises BrokenBlock.
    """
    found = _find(table)
    if found is None:
        if not entries:
            return table
        missing = bool(table) and not table.endswith(b"\n")
        return table + b"\n" * missing + render_block(entries, missing)
    if entries:
        return found.head + render_block(entries, found.newline_added) + found.tail
    if found.newline_added and not found.tail:
        return found.head.removesuffix(b"\n")
    return found.head + found.tail


class _Found(NamedTuple):
    """A table taken apart: what is before our block, in it and after it."""

    head: bytes
    entries: tuple[Entry, ...]
    tail: bytes
    newline_added: bool


def _find(table: bytes) -> _Found | None:
    lines = table.split(b"\n")
    marks = [n for n, line in enumerate(lines) if is_marker(line)]
    if not marks:
        return None
    for mark in marks:
        if not (BEGIN_LINE.fullmatch(lines[mark]) or END_LINE.fullmatch(lines[mark])):
            raise BrokenBlock(mark + 1, "this marker of maejobs was changed by hand")
    first, last = marks[0], marks[-1]
    opening = BEGIN_LINE.fullmatch(lines[first])
    if opening is None:
        raise BrokenBlock(first + 1, "a maejobs block ends here that never began")
    if len(marks) == 1:
        raise BrokenBlock(first + 1, "the maejobs block that begins here has no end")
    if len(marks) > 2 or not END_LINE.fullmatch(lines[last]):
        raise BrokenBlock(last + 1, f"a second maejobs block; the first begins at line {first + 1}")
    entries = tuple(_read_entry(n + 1, lines[n]) for n in range(first + 1, last))
    head = b"".join(line + b"\n" for line in lines[:first])
    added = opening["newline"] is not None and may_have_lacked_newline(head)
    return _Found(head, entries, b"\n".join(lines[last + 1 :]), added)


def may_have_lacked_newline(head: bytes) -> bool:
    """Whether what stands before a block can be a table whose last line lacked its newline."""
    return head.endswith(b"\n") and head != b"\n" and not head.endswith(b"\n\n")


def _read_entry(number: int, line: bytes) -> Entry:
    entry = parse_entry(line)
    if entry is None:
        raise BrokenBlock(number, "this line inside the maejobs block is not one of ours")
    return entry
