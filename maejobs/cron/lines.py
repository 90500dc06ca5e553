"""A table taken apart, line by line, on top of its exact bytes: what cron sees in each.

Sorted by the times that Debian's cron takes, which is more than our grammar accepts: `fri-sun` is
a job here, if one that never fires. Splits at newlines only, so that joining the lines gives the
table.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum

from maejobs.cron.dialect import Dialect
from maejobs.cron.grammar import NICKNAMES, REBOOT, SPANS
from maejobs.cron.leniency import first_bad_field

# In and out again, whatever bytes a line holds.
ENCODING, ERRORS = "utf-8", "surrogateescape"
# Bytes. MAX_COMMAND in Debian's cron.h, which rejects longer ones; elsewhere what a shell can be
# given in one word (MAX_ARG_STRLEN in linux/binfmts.h).
LONGEST_COMMAND = defaultdict(lambda: 998, {Dialect.CRONIE: 131_071, Dialect.BUSYBOX: 131_071})
BLANKS = " \t"
C_SPACES = " \t\n\r\f\v"
KNOWN_NICKNAMES = (REBOOT, *NICKNAMES)
# Debian's load_env: optional quotes, which may hold blanks, and no `=` within a name.
ASSIGNMENT = re.compile(
    r"""
    (?: (?P<name_quote>['"]) (?P<quoted_name>(?:(?!(?P=name_quote))[^=])*) (?P=name_quote)
      | (?!['"]) (?P<name>[^\s=]*) )
    \s* = \s*
    (?: (?P<quote>['"]) (?P<quoted>(?:(?!(?P=quote)).)*) (?P=quote) \s*
      | (?!['"]) (?P<value>\S.*) )
    """,
    re.ASCII | re.DOTALL | re.VERBOSE,
)
WORD = re.compile(f"[{BLANKS}]*([^{BLANKS}]+)")


class Kind(StrEnum):
    """What cron takes a line for."""

    BLANK = "blank"
    COMMENT = "comment"
    ENVIRONMENT = "environment"
    JOB = "job"
    UNPARSABLE = "unparsable"


@dataclass(frozen=True)
class Line:
    """One line; of the parts, those of its kind are set. `raw` ends in the newline it has."""

    number: int  # from 1
    raw: bytes
    kind: Kind
    name: str | None = None  # environment
    value: str | None = None
    expression: str | None = None  # job, as it stands there
    user: str | None = None  # job of a system table
    command: str | None = None  # job, as the shell gets it
    stdin: str | None = None  # job, what the command reads; None: nothing was given
    reason: str | None = None  # unparsable


def parse_lines(
    table: bytes, system: bool = False, dialect: Dialect = Dialect.DEBIAN
) -> list[Line]:
    """Every line of `table`; those of a `system` table name a user before the command.

    busybox ends a command at a `#`, and knows no `%`. Texts are UTF-8, other bytes come as
    surrogates (`os.fsencode` gives them back). A last line that lacks its newline is read as if it
    had one, although cron wants the newline.
    """
    raws = table.split(b"\n")
    last = raws.pop()
    lines = [_read(n, raw + b"\n", system, dialect) for n, raw in enumerate(raws, 1)]
    return [*lines, _read(len(lines) + 1, last, system, dialect)] if last else lines


def split_input(command: str) -> tuple[str, str | None]:
    """What the shell gets and what it reads, of a command as a table holds it.

    The first `%` without a backslash begins the input, later ones are newlines, and the input
    ends in a newline. A backslash is dropped before `%`; before another one in the command only.
    """
    shell, position = "", 0
    for special in re.finditer(r"\\(?P<escaped>[\\%])|%", command):
        shell += command[position : special.start()]
        position = special.end()
        if special["escaped"] is None:
            return shell, _input(command[position:])
        shell += special["escaped"]
    return shell + command[position:], None


def _input(text: str) -> str:
    lines = re.sub(r"(\\?)%", lambda match: "%" if match[1] else "\n", text)
    return lines if not lines or lines.endswith("\n") else lines + "\n"


def _read(number: int, raw: bytes, system: bool, dialect: Dialect) -> Line:
    text = raw.removesuffix(b"\n").decode(ENCODING, ERRORS).lstrip(BLANKS)
    if not text:
        return Line(number, raw, Kind.BLANK)
    if text.startswith("#"):
        return Line(number, raw, Kind.COMMENT)
    if "\0" in text:
        reason = "holds a NUL byte, behind which cron begins another line"
        return Line(number, raw, Kind.UNPARSABLE, reason=reason)
    if found := ASSIGNMENT.fullmatch(text):
        name = found["quoted_name"] if found["name_quote"] else found["name"]
        value = found["quoted"] if found["quote"] else found["value"].rstrip(C_SPACES)
        return Line(number, raw, Kind.ENVIRONMENT, name=name, value=value)
    return _read_job(number, raw, text, system, dialect)


def _read_job(number: int, raw: bytes, text: str, system: bool, dialect: Dialect) -> Line:
    fields = 1 if text.startswith("@") else len(SPANS)
    words, end = _words(text, fields)
    if fields == 1:
        reason = None if words[0] in KNOWN_NICKNAMES else f"cron knows no nickname {words[0]}"
    else:
        bad = first_bad_field(words)
        reason = f"bad {bad}" if bad else None
    expression, user, rest = text[:end], None, text[end:].lstrip(BLANKS)
    if reason is None and system:
        (user, *_), end = _words(rest, 1) if rest else ([""], 0)
        if not rest[end:]:
            reason = "a user and a command are missing" if not rest else "a command is missing"
        rest = rest[end:].lstrip(BLANKS)
    longest = LONGEST_COMMAND[dialect]
    if reason is None and len(rest.encode(ENCODING, ERRORS)) > longest:
        reason = f"the command is longer than {longest} bytes"
    if reason is not None:
        return Line(number, raw, Kind.UNPARSABLE, reason=reason)
    if dialect is Dialect.BUSYBOX:
        command, stdin = rest.partition("#")[0].rstrip(BLANKS), None
    else:
        command, stdin = split_input(rest)
    return Line(
        number, raw, Kind.JOB, expression=expression, user=user, command=command, stdin=stdin
    )


def _words(text: str, count: int) -> tuple[list[str], int]:
    """The first `count` words of `text`, or as many as there are, and where the last one ends."""
    words: list[str] = []
    end = 0
    while len(words) < count and (match := WORD.match(text, end)):
        words.append(match[1])
        end = match.end()
    return words, end
