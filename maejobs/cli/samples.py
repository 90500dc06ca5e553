"""`maejobs samples`: what a run took of its host, while it ran."""

from collections.abc import Callable, Sequence
from typing import Any

import click
from humanize import naturalsize

from maejobs.cli.options import (
    PATIENCE_SECONDS,
    HomeCommand,
    existing_home,
    json_option,
    looking_up,
    run_argument,
)
from maejobs.cli.output import as_dict, length, print_json, print_table
from maejobs.cron.fires import host_zone
from maejobs.rundb.database import open_database
from maejobs.rundb.queries import find_run
from maejobs.rundb.samples import samples_of

GPU_COLUMNS: dict[str, Callable[[Any], str]] = {
    "gpu": lambda row: _told(row.gpu_utilisation, "{:.0%}"),
    "gpu memory": lambda row: size(row.gpu_memory),
    "power": lambda row: _told(row.gpu_power, "{:.0f} W"),
    "heat": lambda row: _told(row.gpu_temperature, "{:.0f} °C"),
}
COLUMNS: dict[str, Callable[[Any], str]] = {
    "until": lambda row: f"{row.time.astimezone(host_zone()):%a %H:%M:%S}",
    "for": lambda row: length(row.seconds),
    "cores": lambda row: _told(row.cpu, "{:.2f}"),
    "memory": lambda row: size(row.memory),
    "read": lambda row: size(row.bytes_read),
    "written": lambda row: size(row.bytes_written),
    "disk free": lambda row: size(row.disk_free),
}


@click.command("samples", cls=HomeCommand)
@run_argument
@click.option("-n", "--limit", type=click.IntRange(1), help="Only the last so many.")
@json_option
def samples_command(run: str, limit: int | None, as_json: bool) -> None:
    """Show what a run took of its host, over time. A job's name means its newest.

    Cores kept busy, memory, disk, and its GPUs' utilisation, memory, power and temperature. Old
    runs have fewer samples, each for a longer stretch. With --json, all figures and their peaks.

    \b
    Example:
      maejobs samples pretrain -n 20
    """
    home = existing_home()
    with open_database(home, PATIENCE_SECONDS) as engine:
        with looking_up(home, run):
            row = find_run(engine, run)
        taken = samples_of(engine, row.id)
    shown = taken[-limit:] if limit else taken
    if as_json:
        print_json([as_dict(sample) for sample in shown])
    elif not shown:
        click.echo(f"no samples of {row.id}")
    else:
        _print(shown)


def size(count: int | None) -> str:
    """Bytes for a person; nothing where they are not known."""
    return "" if count is None else naturalsize(count)


def _print(rows: Sequence[Any]) -> None:
    on_gpus = any(row.gpu_memory is not None or row.gpu_utilisation is not None for row in rows)
    columns = COLUMNS | (GPU_COLUMNS if on_gpus else {})
    print_table(list(columns), [[show(row) for show in columns.values()] for row in rows])


def _told(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
