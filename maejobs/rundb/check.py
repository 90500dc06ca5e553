"""Whether the run database is sound: its pages, what it is made of, and rows that fit together."""

from collections.abc import Callable, Iterator
from functools import partial

from sqlalchemy import Column, Connection, Engine, exists, func, inspect, select
from sqlalchemy.exc import DBAPIError

from maejobs.home import Home
from maejobs.rundb.database import open_database, place_of, reading
from maejobs.rundb.schema import VIEWS, jobs, metadata, runs

Check = Callable[[Connection], Iterator[str]]


def find_problems(home: Home, quick: bool = False) -> list[str]:
    """What is wrong with the home's database, a line each; none: it is sound.

    `quick` leaves out whether indexes agree with their tables, which takes most of the time of a
    large one. Raises DatabaseUnavailable: it cannot be read at all, or is of another version.
    """
    with open_database(home) as engine:
        problems = _found_by(partial(_damaged_pages, quick=quick), engine)
        missing = _found_by(_missing_parts, engine)
        if not missing:
            problems += _found_by(_rows_without_parents, engine)
            problems += _found_by(_unknown_last_runs, engine)
    place = place_of(home)
    return [f"run database {place}: {problem}" for problem in dict.fromkeys(problems + missing)]


def _found_by(check: Check, engine: Engine) -> list[str]:
    found: list[str] = []
    try:
        with reading(engine) as connection:
            found += check(connection)
    except DBAPIError as error:  # a damaged page met on the way
        found.append(str(error.orig).strip().partition("\n")[0])
    return found


def _damaged_pages(connection: Connection, quick: bool) -> Iterator[str]:
    """SQLite's own verdict, at most 100 lines of it. PostgreSQL looks after its pages itself."""
    if connection.dialect.name == "sqlite":
        pragma = "quick_check" if quick else "integrity_check"
        for (line,) in connection.exec_driver_sql(f"PRAGMA {pragma}"):
            if line != "ok":
                yield " ".join(line.split())


def _missing_parts(connection: Connection) -> Iterator[str]:
    found = inspect(connection)
    tables = set(found.get_table_names())
    for table in metadata.sorted_tables:
        if table.name not in tables:
            yield f"table {table.name} is not there"
            continue
        indexes = {index["name"] for index in found.get_indexes(table.name)}
        for name in sorted(str(index.name) for index in table.indexes):
            if name not in indexes:
                yield f"index {name} is not there: lists are slow without it"
    views = set(found.get_view_names())
    for view in VIEWS:
        if view not in views:
            yield f"view {view} is not there"
        else:
            connection.exec_driver_sql(f"SELECT * FROM {view} LIMIT 1")


def _rows_without_parents(connection: Connection) -> Iterator[str]:
    for table in metadata.sorted_tables:
        for key in table.foreign_keys:
            if count := _without(connection, key.parent, key.column):
                yield (
                    f"{count} rows of {table.name} belong to {key.column.table.name} that are not "
                    "there"
                )


def _unknown_last_runs(connection: Connection) -> Iterator[str]:
    if count := _without(connection, jobs.c.last_run, runs.c.id):
        yield f"the last run of {count} jobs is not there"


def _without(connection: Connection, child: Column[str], parent: Column[str]) -> int:
    """How many values of `child` are none of `parent`'s."""
    is_known = exists().where(parent == child)
    query = select(func.count()).select_from(child.table).where(child.is_not(None), ~is_known)
    return connection.execute(query).scalar_one()
