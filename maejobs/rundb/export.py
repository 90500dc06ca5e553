"""History written out for other programs: a view as JSON lines or Parquet, batch by batch."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Engine, Integer, Text, column, func, inspect, select, table
from sqlalchemy.types import TypeEngine

from maejobs.errors import UserError
from maejobs.rundb.database import reading
from maejobs.rundb.schema import VIEWS

BATCH = 5000  # rows held in memory
PREFIX = "v_"

Row = dict[str, Any]


class Export:
    """The rows of a view, of `since` or later if given. Raises UserError: it has no time.

    Its columns are those of docs/database.md: instants are epoch seconds.
    """

    def __init__(self, engine: Engine, name: str, since: datetime | None = None) -> None:
        self._engine = engine
        view = f"{PREFIX}{name}"
        # SQLite does not say the type of what a view computes: all of that are numbers of seconds.
        with reading(engine) as connection:
            columns = inspect(connection).get_columns(view)
        found = {column["name"]: column["type"] for column in columns}
        self.columns: dict[str, TypeEngine[Any]] = found
        self._query: Any = select(*(column(name) for name in found)).select_from(table(view))
        if since is not None:
            when = VIEWS[view]
            if when is None:
                raise UserError(f"{name} are not of a time: leave --since out")
            self._query = self._query.where(column(when) >= since.timestamp())

    def count(self) -> int:
        """How many rows there are."""
        query = select(func.count()).select_from(self._query.subquery())
        with reading(self._engine) as connection:
            return int(connection.execute(query).scalar_one())

    def batches(self) -> Iterator[list[Row]]:
        """The rows, at most `BATCH` at once; all of one moment, whatever is written meanwhile."""
        documents = [name for name, kind in self.columns.items() if isinstance(kind, JSON)]
        with reading(self._engine) as connection:
            result = connection.execution_options(yield_per=BATCH).execute(self._query)
            for part in result.mappings().partitions():
                rows = [dict(row) for row in part]
                for row in rows:
                    for name in documents:  # SQLite's are text
                        if isinstance(row[name], str):
                            row[name] = json.loads(row[name])
                yield rows


def json_lines(rows: Sequence[Row]) -> str:
    """`rows` as JSON lines, in ASCII, so that they pass through every pipe and terminal."""
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def write_json_lines(export: Export, path: Path) -> int:
    """Write all rows to `path`; how many there were."""
    count = 0
    with path.open("w", encoding="ascii") as file:
        for rows in export.batches():
            file.write(json_lines(rows))
            count += len(rows)
    return count


def write_parquet(export: Export, path: Path) -> int:
    """Write all rows to `path`; how many there were. Raises UserError: pyarrow is not installed."""
    pyarrow, parquet = import_pyarrow()
    kinds = {
        name: pyarrow.int64()
        if isinstance(kind, Integer)
        else pyarrow.string()
        if isinstance(kind, Text | JSON)
        else pyarrow.float64()
        for name, kind in export.columns.items()
    }
    schema = pyarrow.schema(kinds.items())
    documents = [name for name, kind in export.columns.items() if isinstance(kind, JSON)]
    count = 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in export.batches():
            for row in rows:
                row |= {name: json.dumps(row[name]) for name in documents}
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
            count += len(rows)
    return count


def import_pyarrow() -> tuple[Any, Any]:
    """pyarrow and its Parquet module. Raises UserError with what installs it."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(
            "Parquet is written by pyarrow, which is not installed: "
            "`pip install 'maejobs[parquet]'` brings it"
        ) from None
    return pyarrow, parquet
