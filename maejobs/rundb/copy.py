"""All history copied into another database: from SQLite's file to PostgreSQL, or back."""

from dataclasses import replace

from sqlalchemy import Connection, Engine, Table, func, insert, select

from maejobs.errors import UserError
from maejobs.home import Home
from maejobs.rundb.database import open_database, place_of, reading
from maejobs.rundb.migrate import upgrade, version_to_upgrade
from maejobs.rundb.schema import jobs, metadata

BATCH = 1000  # rows held in memory


def copy_history(home: Home, url: str, dry_run: bool = False) -> dict[str, int]:
    """Copy all rows of the home's database to the one at `url`; how many of each table there are.

    It gets its tables first. The rows are of one moment, whoever writes meanwhile, and in the end
    all of them are there or none. Raises DatabaseUnavailable for either; UserError for a bad URL,
    and where a database holds history already.
    """
    other = replace(home, configured_database_url=url)
    with open_database(home) as source, _of_one_moment(source) as old:
        if dry_run:
            version_to_upgrade(other)
            return {table.name: _count(old, table) for table in metadata.sorted_tables}
        upgrade(other)
        with open_database(other) as target, target.begin() as new:
            if _count(new, jobs):
                raise UserError(f"{place_of(other)} holds history already; name an empty database")
            return {table.name: _copy(old, new, table) for table in metadata.sorted_tables}


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
