"""A line that is not ours, taken over as a job: what cron makes of it, or why that cannot be kept.

What cron gives a command (facts of Debian's do_command.c and of cron(8)): SHELL with `-c`, HOME as
working directory, PATH=/usr/bin:/bin, umask 022, the variables set above the line, and what
follows an unescaped `%` on standard input.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from maejobs.cron.block import Entry, read_entries, render_block
from maejobs.cron.dialect import Dialect
from maejobs.cron.grammar import BadExpression, parse_expression
from maejobs.cron.install import TableChanged
from maejobs.cron.lines import Kind, Line, parse_lines
from maejobs.cron.repair import assemble, lay_out
from maejobs.errors import UserError

CRON_PATH = "/usr/bin:/bin"
CRON_SHELL = "/bin/sh"
# Cron reads these itself; a line below them would not do the same as a job.
REFUSED = {
    "TZ": "a job's times are the host's, whatever zone the command is told",
    "CRON_TZ": "a job's times are the host's",
    "RANDOM_DELAY": "a job starts on the minute",
}
UNUSED = ("MAILTO", "MAILFROM", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING")
# A job takes these from what starts it: set above our block, they would reach it there.
PASSED_ON = ("HOME", "LANG", "LC_ALL", "TMPDIR")
SET_BY_CRON = "LOGNAME"  # always the account's, whatever a line says
OURS = "MAEJOBS_"
BUSYBOX_SETS = ("SHELL", "MAILTO")  # it passes over all others (load_crontab in its crond.c)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# The command stays a word of its own, so that nothing in it is quoted anew.
RUN = 'umask 022; exec "$0" -c "$1"'
RUN_WITH_INPUT = 'umask 022; printf %s "$2" | "$0" -c "$1"'


@dataclass(frozen=True)
class Adoption:
    """What a line does under cron: `argv` in `environment`, when `expression` says.

    `unused` are variables above it that only cron itself reads (MAILTO), with their values.
    """

    line: Line
    expression: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    unused: dict[str, str]
    dialect: Dialect = Dialect.DEBIAN


class CannotAdopt(UserError):
    """The line would not do as a job what it does under cron."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"line {number} of the crontab cannot be taken over: {reason}")


def matching_line(
    table: bytes, text: str, system: bool = False, dialect: Dialect = Dialect.DEBIAN
) -> int:
    """The number of the one job line, not ours, that holds `text`. Raises UserError: none, many."""
    ours = _our_numbers(table)
    found = [
        line.number
        for line in parse_lines(table, system, dialect)
        if line.kind is Kind.JOB and line.number not in ours and os.fsencode(text) in line.raw
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(f"no job line of the crontab, but for ours, holds {text!r}")
    numbers = ", ".join(map(str, found))
    raise UserError(f"lines {numbers} of the crontab hold {text!r}; name one with --line")


def take_over(
    table: bytes,
    number: int,
    system_user: str | None = None,
    dialect: Dialect = Dialect.DEBIAN,
) -> Adoption:
    """What line `number` (from 1) does under a cron of `dialect`, with the variables above it.

    In a system table, `system_user` is whom jobs run as. Raises CannotAdopt with the reason,
    BrokenBlock.
    """
    lines = parse_lines(table, system_user is not None, dialect)
    if not 0 < number <= len(lines):
        raise UserError(f"the crontab has no line {number}; `maejobs list` shows its {len(lines)}")
    line = lines[number - 1]
    if number in _our_numbers(table):
        raise CannotAdopt(number, "it is one of ours already")
    if line.kind is not Kind.JOB or line.expression is None or line.command is None:
        what = f"it is no job that cron would run: {line.reason}" if line.reason else "it is no job"
        raise CannotAdopt(number, what)
    if not line.command.strip():
        raise CannotAdopt(number, "it has no command")
    if line.user != system_user:
        raise CannotAdopt(number, f"it runs as {line.user}, and our jobs as {system_user}")
    try:
        expression = parse_expression(line.expression, dialect).text
    except BadExpression as error:
        raise CannotAdopt(number, str(error)) from error
    environment, unused = _environment(lines[: number - 1], number, dialect)
    shell = environment["SHELL"]
    if not PurePosixPath(shell).is_absolute():
        raise CannotAdopt(number, f"cron would not find its SHELL, {shell}: write the whole path")
    for text in (line.command, line.stdin or "", *environment.values()):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise CannotAdopt(number, "it holds bytes that are not UTF-8, and job files are")
    if line.stdin:
        argv: tuple[str, ...] = (CRON_SHELL, "-c", RUN_WITH_INPUT, shell, line.command, line.stdin)
    else:
        argv = (CRON_SHELL, "-c", RUN, shell, line.command)
    return Adoption(line, expression, argv, environment, unused, dialect)


def replace_line(
    table: bytes, adoption: Adoption, entry: Entry, system_user: str | None = None
) -> bytes:
    """`table` with `entry` in our block in the stead of the line taken over; all else stays.

    Raises TableChanged if the line, or what stands above it, is not what was taken over;
    CannotAdopt for variables between it and our block that would change what it does.
    """
    number = adoption.line.number
    lines = parse_lines(table)
    now = take_over(table, number, system_user, adoption.dialect)
    if now != adoption:
        raise TableChanged("the crontab was changed by somebody else meanwhile; try again")
    rest = b"".join(line.raw for line in lines if line.number != number)
    layout = lay_out(rest)
    new = render_block([entry]).split(b"\n")[1]
    _refuse_between(layout.head, adoption)
    return assemble(layout, [*(line.raw for line in layout.ours), new])


def _refuse_between(above_block: bytes, adoption: Adoption) -> None:
    number = adoption.line.number
    for name in [line.name for line in parse_lines(above_block) if line.name is not None]:
        if name in REFUSED:
            raise CannotAdopt(number, f"{name} is set above our block; {REFUSED[name]}")
        if name in PASSED_ON and name not in adoption.environment:
            raise CannotAdopt(number, f"{name}, set below it and above our block, would reach it")


def _our_numbers(table: bytes) -> set[int]:
    read_entries(table)  # a damaged block is mended first
    return {line.number for line in lay_out(table, lambda entry: True).ours}


def _environment(
    above: Sequence[Line], number: int, dialect: Dialect
) -> tuple[dict[str, str], dict[str, str]]:
    """What cron sets for a line below `above`, and what only it reads. Raises CannotAdopt."""
    if dialect is Dialect.BUSYBOX:
        above = [line for line in above if line.name in BUSYBOX_SETS]
    set_above = {
        line.name: line.value
        for line in above
        if line.name is not None and line.value is not None and line.name != SET_BY_CRON
    }
    for name in set_above:
        if name in REFUSED:
            raise CannotAdopt(number, f"{name} is set above it; {REFUSED[name]}")
        if not VARIABLE.fullmatch(name) or name.startswith(OURS):
            raise CannotAdopt(number, f"a job's `env` cannot set {name!r}, which is set above it")
    unused = {name: value for name, value in set_above.items() if name in UNUSED}
    used = {name: value for name, value in set_above.items() if name not in UNUSED}
    return {"PATH": CRON_PATH, "SHELL": CRON_SHELL} | used, unused
