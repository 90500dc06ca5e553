"""`maejobs db export`: history for other programs."""

from datetime import datetime
from pathlib import Path

import click

from maejobs import clock
from maejobs.cli.options import (
    PATIENCE_SECONDS,
    HomeCommand,
    dry_run_option,
    existing_home,
    json_option,
)
from maejobs.cli.output_file import check_output_file
from maejobs.cli.streams import is_unread
from maejobs.cli.text import visible
from maejobs.cron.fires import host_zone
from maejobs.errors import UserError, quoted
from maejobs.jobs.units import parse_duration
from maejobs.rundb.schema import VIEWS

TABLES = tuple(view.removeprefix("v_") for view in VIEWS)


def _read_since(ctx: click.Context, param: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at if at.tzinfo else at.replace(tzinfo=host_zone())
    except ValueError:
        pass
    try:
        return clock.now() - parse_duration(text)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{quoted(text)} is neither a date nor a duration; write it like 2026-11-28 or 30d",
            ctx,
            param,
        ) from None


@click.command("export", cls=HomeCommand)
@click.argument("table", type=click.Choice(TABLES), default="runs")
@click.option("--since", metavar="WHEN", callback=_read_since, help="A date, or how long ago.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["jsonl", "parquet"]),
    default="jsonl",
    show_default=True,
    help="JSON lines, or Parquet (needs pyarrow).",
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to; without it, JSON lines go to standard output.",
)
@dry_run_option
@json_option
def export_command(
    table: str,
    since: datetime | None,
    kind: str,
    output: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write history out for other programs.

    TABLE is `runs` unless named; its columns are those of the documented view. FILE is replaced as
    a whole, or left as it was. --json tells what was written.

    \b
    Example:
      maejobs db export metrics --since 30d > metrics.jsonl
      maejobs db export --format parquet --output runs.parquet
    """
    from maejobs.cli.output import print_json
    from maejobs.files import replacing
    from maejobs.rundb.database import open_database
    from maejobs.rundb.export import (
        Export,
        import_pyarrow,
        json_lines,
        write_json_lines,
        write_parquet,
    )

    home = existing_home()
    if kind == "parquet":
        import_pyarrow()
    if output is not None:
        check_output_file(output, home)
    elif not dry_run and (kind == "parquet" or as_json):
        told = "--format parquet" if kind == "parquet" else "--json"
        raise UserError(f"{told} needs a file to write to: --output FILE")
    with open_database(home, PATIENCE_SECONDS) as engine:
        export = Export(engine, table, since)
        if dry_run:
            count = export.count()
        elif output is None:
            for rows in export.batches():
                click.echo(json_lines(rows), nl=False)
                if is_unread():
                    break
            return
        else:
            with replacing(output) as temporary:
                write = write_parquet if kind == "parquet" else write_json_lines
                count = write(export, temporary)
    if as_json:
        print_json({"table": table, "rows": count, "output": output, "dry_run": dry_run})
    else:
        place = "standard output" if output is None else visible(str(output))
        click.echo(f"{'would write' if dry_run else 'wrote'} {count} rows of {table} to {place}")
