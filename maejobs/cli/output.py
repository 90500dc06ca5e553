"""How things are printed: tables for people, JSON for programs, local time at the edge."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import humanize

from maejobs import clock
from maejobs.cron.fires import host_zone

STATE_COLOURS = {
    "succeeded": "green",
    "running": "cyan",
    "queued": "cyan",
    "skipped": "yellow",
    "cancelled": "yellow",
    "failed": "red",
    "timed_out": "red",
    "lost": "red",
    "missed": "red",
}


def print_json(data: Any) -> None:
    """Print `data` as JSON; instants become ISO 8601 in UTC, paths text."""
    click.echo(json.dumps(data, default=_plain, ensure_ascii=False, indent=2))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be printed as JSON")


def as_dict(row: Any) -> dict[str, Any]:
    """A database row as a dictionary."""
    return dict(row._mapping)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns; colours on a terminal, whole words when piped."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, no_wrap=not console.is_terminal, overflow="fold")
    for row in rows:
        table.add_row(*[_coloured(escape(cell)) for cell in row])
    if not console.is_terminal:
        console.width = 10_000
    console.print(table)


def print_fields(fields: Mapping[str, str | None]) -> None:
    """Print `name  value` lines, leaving out what is not known."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        if value is not None and value != "":
            click.echo(f"{click.style(name.ljust(width), bold=True)}  {visible(value)}")


def visible(text: str) -> str:
    """`text` with control characters shown, so that a name or log cannot drive the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def local(at: datetime | None) -> str:
    """An instant as the host's clock shows it, to the minute."""
    return f"{at.astimezone(host_zone()):%a %Y-%m-%d %H:%M}" if at else ""


def relative(at: datetime | None) -> str:
    """An instant as a distance from now: `3 hours ago`, `in 2 days`."""
    if at is None:
        return ""
    distance = clock.now() - at
    if distance < timedelta(0):
        return f"in {humanize.naturaldelta(-distance)}"
    return f"{humanize.naturaldelta(distance)} ago"


def length(seconds: float | None) -> str:
    """A duration in seconds as `1h 02m 03s`."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m {rest:02d}s"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


def progress(step: int | None, total: int | None) -> str:
    """`1,200 / 4,000 (30 %)`, as far as known."""
    if step is None:
        return ""
    if not total:
        return f"{step:,}"
    return f"{step:,} / {total:,} ({100 * step // total} %)"


def _coloured(cell: str) -> str:
    colour = STATE_COLOURS.get(cell.split(" ", 1)[0])
    return f"[{colour}]{cell}[/]" if colour else cell
