"""What a table asks a cron for: which command, with which environment, in which minutes. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from maejobs.cron.grammar import BadExpression, Expression, parse_expression
from maejobs.cron.lines import Kind, parse_lines
from maejobs.cron.wakeup import Due, is_due

ZONE_VARIABLE = "MAEJOBS_ZONE"


@dataclass(frozen=True)
class Account:
    """Whom a job runs as."""

    name: str
    home: str


@dataclass(frozen=True)
class Entry:
    """One job line; `assignments` are those of the environment lines above it, in order."""

    number: int
    expression: Expression
    command: str
    stdin: str | None
    user: str | None
    assignments: tuple[tuple[str, str], ...]


def read_entries(table: bytes, system: bool = False) -> tuple[list[Entry], list[str]]:
    """The jobs of `table`, and why each line that cannot be honoured is passed over."""
    entries: list[Entry] = []
    passed_over: list[str] = []
    assignments: tuple[tuple[str, str], ...] = ()
    for line in parse_lines(table, system):
        if line.kind is Kind.ENVIRONMENT:
            assignments += ((line.name or "", line.value or ""),)
        elif line.kind is Kind.UNPARSABLE:
            passed_over.append(f"line {line.number}: {line.reason}")
        elif line.kind is Kind.JOB:
            try:
                expression = parse_expression(line.expression or "")
            except BadExpression as error:
                passed_over.append(f"line {line.number}: {line.expression}: {error.reason}")
                continue
            entries.append(
                Entry(
                    line.number, expression, line.command or "", line.stdin, line.user, assignments
                )
            )
    return entries, passed_over


def due_entries(entries: Iterable[Entry], due: Due) -> list[Entry]:
    """Those of `entries` whose turn it is, in the table's order."""
    return [entry for entry in entries if is_due(entry.expression, due)]


def environment_of(entry: Entry, account: Account, zone: str | None) -> dict[str, str]:
    """All that the job finds in its environment: cron's four, the table's, and our zone."""
    ours: Mapping[str, str] = {ZONE_VARIABLE: zone} if zone else {}
    return {
        "HOME": account.home,
        "PATH": "/usr/bin:/bin",
        "SHELL": "/bin/sh",
        **ours,
        **dict(entry.assignments),
        "LOGNAME": account.name,  # not the table's to change, as on Debian
    }


def seconds_to_next_minute(now: datetime) -> float:
    """How long until the next minute begins; at most 60."""
    now = now.astimezone(UTC)
    return 60 - now.second - now.microsecond / 1e6
