"""All history copied into another database: from SQLite's file to PostgreSQL, or back."""

from dataclasses import replace

from sqlalchemy import Connection, Engine, Table, func, insert, select

from maejobs.errors import UserError
from maejobs.home import Home
from maejobs.rundb.database import open_database, place_of, reading
from maejobs.rundb.migrate import upgrade, version_to_upgrade
from maejobs.rundb.schema import REVISION, jobs, metadata

BATCH = 1000  # rows held in memory


def copy_history(home: Home, url: str, dry_run: bool = False) -> dict[str, int]:
    """Copy all rows of the home's database to the one at `url`; how many of each table there are.

    It gets its tables first. The rows are of one moment, whoever writes meanwhile, and in the end
    all of them are there or none. Raises DatabaseUnavailable for either; UserError for a bad URL,
    and where a database holds history already.
    """
    other = replace(home, configured_database_url=url)
    filled = UserError(f"{place_of(other)} holds history already; name an empty database")
    with open_database(home) as source, _of_one_moment(source) as old:
        if not _is_empty(other):
            raise filled
        if dry_run:
            return {table.name: _count(old, table) for table in metadata.sorted_tables}
        upgrade(other)
        with open_database(other) as target, target.begin() as new:
            if _count(new, jobs):  # somebody was sooner
                raise filled
            return {table.name: _copy(old, new, table) for table in metadata.sorted_tables}


def _is_empty(home: Home) -> bool:
    """Whether it has no tables of ours yet, or nothing in them."""
    found = version_to_upgrade(home)
    if found != REVISION:  # an older one is somebody's, and not to be brought up for this
        return found is None
    with open_database(home) as engine, reading(engine) as connection:
        return _count(connection, jobs) == 0


def _of_one_moment(engine: Engine) -> Connection:
    """A connection that only reads, and all its life what was there at first."""
    connection = reading(engine)
    if engine.dialect.name == "postgresql":  # SQLite's are like that
        return connection.execution_options(isolation_level="REPEATABLE READ")
    return connection


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _copy(old: Connection, new: Connection, table: Table) -> int:
    count = 0
    found = old.execution_options(yield_per=BATCH).execute(select(table))
    for rows in found.mappings().partitions():
        new.execute(insert(table), [dict(row) for row in rows])
        count += len(rows)
    return count
