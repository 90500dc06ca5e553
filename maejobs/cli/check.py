"""`maejobs check`: expressions, looked at before they matter."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from itertools import islice, takewhile
from typing import Any

import click

from maejobs import clock
from maejobs.cli.options import QUOTE_IT, HomeCommand, current_home
from maejobs.cli.streams import is_unread
from maejobs.cli.text import visible
from maejobs.cron.describe import describe
from maejobs.cron.dialect import Dialect, dialect_of
from maejobs.cron.fires import fires, zone_called
from maejobs.cron.grammar import BadExpression, Expression, parse_expression
from maejobs.cron.surprises import crowd_of, surprises_of
from maejobs.cron.target import SYSTEM
from maejobs.cron.wakeup import MINUTE
from maejobs.errors import EXIT_USAGE, MaejobsError, UserError, quoted
from maejobs.home import Home

SHOWN_FIRES = 5
FIRST_YEAR = 1970
EXAMPLE_RULE = "CET-1CEST,M3.5.0,M10.5.0/3"
MOST_FIRES = 5_000_000  # in a window: nine years of each minute, and 200 MB


@click.command("check", cls=HomeCommand)
@click.argument("expressions", metavar="EXPRESSION...", nargs=-1, required=True)
@click.option(
    "--dialect",
    type=click.Choice([d.value for d in Dialect]),
    help="Whose grammar (default: the home's).",
)
@click.option(
    "--timezone",
    metavar="ZONE",
    help="The zone to fire in: its name or its POSIX rule (default: cron's).",
)
@click.option("--from", "start", metavar="ISO", help="With --until: all fires from here on.")
@click.option("--until", metavar="ISO", help="Up to here, exclusive.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")
def check_command(
    expressions: tuple[str, ...],
    dialect: str | None,
    timezone: str | None,
    start: str | None,
    until: str | None,
    as_json: bool,
) -> int:
    """Check a schedule EXPRESSION and show when it fires.

    Of `-`, each line of standard input is one. Exit code 0: all are valid; 2: not.

    \b
    Example:
      maejobs check "30 2 * * 1-5"
    """
    if len(expressions) > 1 and all(map(_is_lone_field, expressions)):
        raise click.UsageError(QUOTE_IT)
    home = current_home()
    table = _table(home)
    zone = _crons_zone(home, table) if timezone is None else _zone(timezone)
    window = _window(start, until, zone)
    grammar = Dialect(dialect) if dialect else dialect_of(home)
    lines = _expressions(table, home, grammar)
    worst = 0
    for text in _texts(expressions):
        told = _verdict(text, grammar, zone, window, lines)
        if not told["valid"]:
            worst = EXIT_USAGE
        click.echo(json.dumps(told) if as_json else _printed(told))
        if is_unread():  # what comes on standard input need have no end
            break
    return worst


def _is_lone_field(text: str) -> bool:
    return len(text.split()) == 1 and text != "-" and not text.startswith("@")


def _verdict(
    text: str,
    dialect: Dialect,
    zone: tzinfo,
    window: tuple[datetime, datetime] | None,
    lines: list[Expression],
) -> dict[str, Any]:
    shown = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    told: dict[str, Any] = {"expression": shown, "dialect": dialect.value}
    try:
        parsed = parse_expression(text, dialect)
    except BadExpression as error:
        return (
            told
            | {
                "valid": False,
                "code": error.code.value,
                "reason": error.reason,
                "field": error.field,
                "column": error.column,
                "mended": error.mended,
                "warnings": [],
                "description": None,
                "pointed": error.pointed(),
                "next": [],
            }
            | ({"fires": []} if window else {})
        )
    now = clock.now()
    told |= {"valid": True, "code": None, "reason": None, "field": None, "column": None}
    warnings = [*surprises_of(parsed, now, zone), *crowd_of(parsed, lines, now, zone)]
    told |= {"mended": None, "warnings": warnings, "pointed": None}
    told["description"] = describe(parsed)
    told["next"] = [
        at.astimezone(zone).isoformat() for at in islice(fires(parsed, now, zone), SHOWN_FIRES)
    ]
    if window:
        told["fires"] = _fires(parsed, zone, *window)
    return told


def _table(home: Home) -> bytes | None:
    """The home's crontab; None where it cannot be read, which others tell."""
    from maejobs.cron.target import open_target

    try:
        return open_target(home.crontab).read() or b""
    except (MaejobsError, OSError):
        return None


def _crons_zone(home: Home, table: bytes | None) -> tzinfo:
    from maejobs.cli.zone import take_the_daemons_zone
    from maejobs.cron.zone import zone_of_slots

    take_the_daemons_zone(home)
    return zone_of_slots(home, table)


def _expressions(table: bytes | None, home: Home, dialect: Dialect) -> list[Expression]:
    """The expressions in the home's table."""
    from maejobs.cron.lines import parse_lines

    lines = parse_lines(table or b"", home.crontab == SYSTEM, dialect)
    expressions = []
    for text in (line.expression for line in lines if line.expression is not None):
        with suppress(BadExpression):
            expressions.append(parse_expression(text, dialect))
    return expressions


def _fires(expression: Expression, zone: tzinfo, start: datetime, end: datetime) -> list[int]:
    coming = fires(expression, start - MINUTE, zone)
    within = (at for at in takewhile(lambda at: at < end, coming) if at >= start)
    found = [int(at.timestamp()) for at in islice(within, MOST_FIRES + 1)]
    if len(found) > MOST_FIRES:
        told = f"`{expression.text}` fires more than {MOST_FIRES:,} times in the window"
        raise UserError(f"--until: {told}; let it end earlier")
    return found


def _printed(told: dict[str, Any]) -> str:
    shown = visible(told["expression"])
    if not told["valid"]:
        where = told["field"] or "expression"
        return f"bad {where}: {visible(told['reason'])}\n{told['pointed']}"
    lines = [f"{shown} is valid: {told['description']}"]
    lines += [f"next: {at}" for at in told["next"]]
    lines += [f"warning: {warning}" for warning in told["warnings"]]
    if "fires" in told:
        lines.append(f"fires in the window: {len(told['fires'])}")
    return "\n".join(lines)


def _texts(expressions: Iterable[str]) -> Iterator[str]:
    for text in expressions:
        if text == "-":
            for line in sys.stdin.buffer:
                yield line.removesuffix(b"\n").decode("utf-8", "surrogateescape")
        else:
            yield text


def _zone(name: str) -> tzinfo:
    try:
        return zone_called(name)
    except ValueError:
        told = f"no zone is called {quoted(name)}, and it is no rule such as {EXAMPLE_RULE}"
        raise UserError(f"--timezone: {told}") from None


def _window(start: str | None, until: str | None, zone: tzinfo) -> tuple[datetime, datetime] | None:
    if start is None and until is None:
        return None
    if start is None or until is None:
        raise UserError("--from and --until belong together: give both")
    window = _instant("--from", start, zone), _instant("--until", until, zone)
    if window[0] >= window[1]:
        raise UserError(f"--until: {visible(until)} is not after --from {visible(start)}")
    return window


def _instant(option: str, text: str, zone: tzinfo) -> datetime:
    """In UTC, where a minute earlier is one: before the first minute after a gap there is none."""
    try:
        at = datetime.fromisoformat(text)
        at = (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except ValueError:
        why = "is no ISO 8601 time, such as 2026-01-01T00:00Z"
        raise UserError(f"{option}: {visible(text)} {why}") from None
    except OverflowError:
        raise UserError(f"{option}: {visible(text)} is beyond the calendar") from None
    if at.year < FIRST_YEAR:
        raise UserError(f"{option}: {visible(text)} is before {FIRST_YEAR}, and so before cron")
    return at
