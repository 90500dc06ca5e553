"""Runs to write into a database, and what is in it, read with the plain driver."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from databases import is_postgresql

from maejobs.home import Home
from maejobs.rundb.run import RUNNING, Run, run_name

NIGHT = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


def a_run(job: str = "pretrain", night: int = 0, attempt: int = 1, **fields: Any) -> Run:
    """A running run of the slot `night` days after the first."""
    slot = NIGHT + timedelta(days=night)
    name = run_name(job, slot, attempt)
    values: dict[str, Any] = {
        "id": name,
        "job": job,
        "slot": slot,
        "attempt": attempt,
        "trigger": "cron",
        "state": RUNNING,
        "queued": slot + timedelta(seconds=attempt),
        "started": slot + timedelta(seconds=attempt + 1),
        "host": "somewhere",
        "directory": f"/nowhere/{name}",
    }
    return Run(**values | fields)


def rows(home: Home, query: str) -> list[dict[str, Any]]:
    if is_postgresql(home):
        from postgresql import rows_of

        return rows_of(home.configured_database_url or "", query)
    with closing(sqlite3.connect(f"file:{home.database_file}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


def row(home: Home, query: str) -> dict[str, Any]:
    (only,) = rows(home, query)
    return only


def at_home(home: Home, name: str) -> Path:
    """The directory of a run of `home`, made."""
    directory = home.runs_dir / "pretrain" / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory
