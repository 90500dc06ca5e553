"""How things are printed: tables for people, JSON for programs, local time at the edge."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Any

import click
from rich.cells import cell_len

from maejobs import clock
from maejobs.cli.text import on_one_line, one_line
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
    "unknown": "yellow",
}
GAP = "  "
INDENT = "    "
UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
NARROWEST = 20


def print_json(data: Any) -> None:
    """Print `data` as JSON; instants become ISO 8601 in UTC, durations seconds."""
    # Paths may hold what is not UTF-8; only escaped does that pass through every pipe.
    click.echo(json.dumps(data, default=_plain, indent=2))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be printed as JSON")


def tell_undeleted(lines: Iterable[str]) -> None:
    """Say on standard error what could not be deleted, a line each; the command goes on."""
    for line in lines:
        click.echo(f"maejobs: {one_line(line)}", err=True)


def as_dict(row: Any) -> dict[str, Any]:
    """A database row as a dictionary."""
    return dict(row._mapping)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns; what stands in the column "state" is coloured on a terminal.

    Where the terminal is too narrow, a long last cell goes below its row; where that is not
    enough, each row becomes a paragraph of `header value` pairs. Piped, a row is always a line.
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    for line in layout(headers, cells, _terminal_width()):
        click.echo(line)


def layout(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """The table's lines, at most `width` cells wide if that can be; None: as wide as it gets."""
    widths = [max(map(cell_len, column)) for column in zip(headers, *rows, strict=True)]
    if width is None or sum(widths) + len(GAP) * (len(widths) - 1) <= width:
        return [_line(headers, headers, widths, bold=True)] + [
            _line(headers, row, widths) for row in rows
        ]
    before_last = sum(widths[:-1]) + len(GAP) * (len(widths) - 1)
    if before_last + cell_len(headers[-1]) <= width:
        lines = [_line(headers, headers, widths, bold=True)]
        for row in rows:
            fits = before_last + cell_len(row[-1]) <= width
            lines.append(_line(headers, row if fits else row[:-1], widths))
            lines += [] if fits else _wrapped([row[-1]], width)
        return lines
    lines = []
    for row in rows:
        first, *rest = row
        lines.append(click.style(first, bold=True))
        named = zip(headers[1:], rest, strict=True)
        lines += _wrapped([f"{name} {cell}".strip() for name, cell in named if cell], width)
    return lines


def _line(
    headers: Sequence[str], cells: Sequence[str], widths: Sequence[int], bold: bool = False
) -> str:
    padded = [
        _styled(cell, _colour(header, cell), bold) + " " * (width - cell_len(cell))
        for header, cell, width in zip(headers, cells, widths, strict=False)
    ]
    return GAP.join(padded).rstrip()


def _styled(text: str, colour: str | None, bold: bool = False) -> str:
    # Unasked, click would put a reset even behind nothing.
    return click.style(text, fg=colour, bold=bold or None) if colour or bold else text


def _colour(header: str, cell: str) -> str | None:
    return STATE_COLOURS.get(cell) if header == "state" else None


def _wrapped(parts: Sequence[str], width: int) -> list[str]:
    """The parts in indented lines: side by side while they fit, wrapped where one is too long."""
    lines: list[str] = []
    room = max(width - len(INDENT), NARROWEST)
    for part in filter(None, parts):
        if lines and cell_len(lines[-1]) + len(GAP) + cell_len(part) <= room:
            lines[-1] += GAP + part
        else:
            lines += textwrap.wrap(part, room, break_on_hyphens=False)
    return [INDENT + line for line in lines]


def _terminal_width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_fields(fields: Mapping[str, str | None]) -> None:
    """Print `name  value` lines, leaving out what is not known."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        if value is not None and value != "":
            shown = _styled(on_one_line(value), _colour(name, value))
            click.echo(f"{click.style(name.ljust(width), bold=True)}  {shown}")


def local(at: datetime | None, zone: tzinfo | None = None) -> str:
    """An instant as the caller's clock shows it, or the clocks of `zone`, to the minute."""
    return f"{at.astimezone(zone or host_zone()):%a %Y-%m-%d %H:%M}" if at else ""


def short_local(at: datetime | None, zone: tzinfo | None = None) -> str:
    """As `local`, but as short as can be told apart: `Tue 02:00` within a week, else the date."""
    if at is None:
        return ""
    zone = zone or host_zone()
    here, today = at.astimezone(zone), clock.now().astimezone(zone)
    if today <= here and (here.date() - today.date()).days < 7:
        return f"{here:%a %H:%M}"
    return f"{here:%d %b %H:%M}" if here.year == today.year else f"{here:%Y-%m-%d %H:%M}"


def relative(at: datetime | None) -> str:
    """An instant as a distance from now: `3 h ago`, `in 2 d`."""
    if at is None:
        return ""
    seconds = (clock.now() - at).total_seconds()
    unit, size = next((u for u in UNITS if abs(seconds) >= u[1]), UNITS[-1])
    count = f"{abs(seconds) // size:.0f} {unit}"
    return f"in {count}" if seconds < 0 else f"{count} ago"


def length(seconds: float | None) -> str:
    """A duration in seconds as `1h 02m 03s`; a negative one is none: the clock was set back."""
    if seconds is None or seconds < 0:
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


def share(step: int | None, total: int | None) -> str:
    """`30 % of 4,000`: `progress` where room is scarce."""
    return (
        f"{100 * step // total} % of {total:,}"
        if step is not None and total
        else progress(step, total)
    )
