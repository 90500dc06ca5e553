"""What cron takes in a line and does not do as it looks: told of other people's lines, not refused.

Pure: a table's bytes in, warnings out.
"""

import re
from collections.abc import Collection

from maejobs.cron.dialect import Dialect
from maejobs.cron.grammar import BadExpression, parse_expression
from maejobs.cron.lines import ENCODING, ERRORS, Line, parse_lines
from maejobs.cron.repair import lay_out

# A sixth field, of seconds or years, as other schedulers have it.
TIME_FIELD = re.compile(r"\*|\*/[0-9]+|[0-9]+([-,/][0-9]+)*")


def doubts_of(
    table: bytes, known: bytes = b"", system: bool = False, dialect: Dialect = Dialect.DEBIAN
) -> list[str]:
    """A warning of one line for each job line, not ours, that cron reads otherwise than the eye.

    Lines that stand in `known` as they are have been there before, and are passed over. Positions
    count from 1.
    """
    ours = {line.number for line in lay_out(table, lambda entry: True).ours}
    passed_over = set(known.split(b"\n"))
    lines = [line for line in parse_lines(table, system, dialect) if line.number not in ours]
    return [doubt for line in lines if (doubt := _doubt(line, passed_over, dialect))]


def _doubt(line: Line, passed_over: Collection[bytes], dialect: Dialect) -> str | None:
    if line.expression is None or line.command is None:
        return None
    if line.raw.removesuffix(b"\n") in passed_over:
        return None
    try:
        parse_expression(line.expression, dialect)
    except BadExpression as error:
        column = line.raw.decode(ENCODING, ERRORS).index(line.expression) + error.column + 1
        return f"line {line.number}, column {column}: cron takes it, but {error.reason}"
    first = line.command.split(maxsplit=1)[:1]
    if first and TIME_FIELD.fullmatch(first[0]):
        return f"line {line.number}: a time has five fields, and `{first[0]}` begins the command"
    if not first:
        return f"line {line.number}: there is no command, so nothing happens"
    return None
