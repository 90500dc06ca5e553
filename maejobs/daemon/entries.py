"""What a table asks a cron for: which command, with which environment, in which minutes. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from maejobs.cron.grammar import BadExpression, Expression, parse_expression
from maejobs.cron.leniency import read_leniently
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
    """The jobs of `table` as cron reads them, and what there is to say of its lines.

    Those that cron rejects, or takes and never fires, are passed over.
    """
    entries: list[Entry] = []
    remarks: list[str] = []
    known: dict[str, Expression] = {}  # a thousand lines may have few schedules between them
    assignments: tuple[tuple[str, str], ...] = ()
    for line in parse_lines(table, system):
        if line.kind is Kind.ENVIRONMENT:
            assignments += ((line.name or "", line.value or ""),)
        elif line.kind is Kind.UNPARSABLE:
            remarks.append(f"line {line.number} is passed over: {line.reason}")
        elif line.kind is Kind.JOB:
            text = line.expression or ""
            try:
                parse_expression(text)
            except BadExpression as error:
                remarks.append(f"line {line.number}: {text}: {error.reason}")
            expression = known.setdefault(text, read_leniently(text))
            times = expression.minutes_of_day and expression.month.values and expression.days
            if not (times or expression.reboot):
                continue
            entries.append(
                Entry(
                    line.number, expression, line.command or "", line.stdin, line.user, assignments
                )
            )
    return entries, remarks


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
