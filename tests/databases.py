"""What befalls a home's database in tests: SQLite's file, or a PostgreSQL server's."""

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import inspect, make_url

from maejobs.home import Home
from maejobs.rundb.database import open_database, place_of
from maejobs.rundb.postgresql import WRITERS_LOCK
from maejobs.rundb.schema import metadata

SETTINGS = 'crontab = "crontab"\n'
# What a server keeps for those who write, and what keeps readers away as well.
LOCKS = {
    "IMMEDIATE": f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})",
    "EXCLUSIVE": "LOCK TABLE alembic_version, jobs, runs IN ACCESS EXCLUSIVE MODE",
}


def configure(home: Home, settings: str = SETTINGS) -> None:
    """Write the home's settings; its database stays where it is."""
    home.config_file.write_text(database_setting(home.configured_database_url) + settings)


def database_setting(url: str | None) -> str:
    """The line of `maejobs.toml` that names the database; none: it is the file in the home."""
    return f'database_url = "{url}"\n' if url else ""


def is_postgresql(home: Home) -> bool:
    return (home.configured_database_url or "").startswith("postgresql")


@contextmanager
def plain(home: Home, read_only: bool = False) -> Iterator[Any]:
    """A connection of the plain driver's; each statement counts at once."""
    if is_postgresql(home):
        import psycopg

        url = home.configured_database_url or ""
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            if read_only:
                connection.execute("SET default_transaction_read_only = on")
            yield connection
    else:
        uri = f"file:{home.database_file}?mode={'ro' if read_only else 'rw'}"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as sqlite:
            yield sqlite


def change(home: Home, *statements: str) -> None:
    """As somebody does who knows neither our foreign keys nor our views."""
    with plain(home) as connection:
        if is_postgresql(home):
            connection.execute("SET session_replication_role = replica")
        for statement in statements:
            connection.execute(statement)


@contextmanager
def locked(home: Home, how: str = "IMMEDIATE") -> Iterator[Any]:
    """Somebody else who writes and does not come to an end: his connection, of the plain driver.

    `how` is "IMMEDIATE", or "EXCLUSIVE" where not even readers get in.
    """
    with plain(home) as connection:
        if is_postgresql(home):
            connection.execute("BEGIN")
        connection.execute(LOCKS[how] if is_postgresql(home) else f"BEGIN {how}")
        yield connection
        connection.execute("ROLLBACK")


@contextmanager
def away(home: Home) -> Iterator[None]:
    """Within it, the database is not there."""
    take_away(home)
    try:
        yield
    finally:
        bring_back(home)


def take_away(home: Home) -> None:
    _rename(home, "{}", "{}_away")


def bring_back(home: Home) -> None:
    _rename(home, "{}_away", "{}")


def _rename(home: Home, old: str, new: str) -> None:
    if is_postgresql(home):
        on_server(home, f"ALTER DATABASE {old} RENAME TO {new}".replace("{}", "{name}"))
    else:
        file = str(home.database_file)
        for side in ("", "-wal", "-shm"):
            if (from_ := Path(old.format(file) + side)).exists():
                from_.rename(new.format(file) + side)


def keep(home: Home, place: Path) -> Path:
    """Have a copy of the database for `restore`: at `place`, or on its server."""
    if is_postgresql(home):
        on_server(home, "DROP DATABASE IF EXISTS {name}_kept")
        on_server(home, "CREATE DATABASE {name}_kept TEMPLATE {name}")
    else:
        place.unlink(missing_ok=True)
        with plain(home) as database, closing(sqlite3.connect(place)) as copy:
            database.backup(copy)
    return place


def restore(home: Home, place: Path) -> None:
    """Let the database be what it was at the last `keep`, whatever is in its place."""
    if is_postgresql(home):
        on_server(home, "DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        on_server(home, "CREATE DATABASE {name} TEMPLATE {name}_kept")
        return
    file = home.database_file
    if file.is_dir():
        file.rmdir()
    for side in ("-wal", "-shm"):
        file.with_name(file.name + side).unlink(missing_ok=True)
    shutil.copy(place, file)


def told_of_absence(home: Home) -> str:
    """What is said of the database where it is not there."""
    if is_postgresql(home):
        name = make_url(home.configured_database_url or "").database
        return f'database "{name}" does not exist'
    return f"no run database at {place_of(home)}; `maejobs init` makes it"


def told_of_lock(home: Home) -> str:
    """What is said of the database while it is locked."""
    return "lock timeout" if is_postgresql(home) else "database is locked"


def empty(home: Home) -> None:
    """Leave a database without a table."""
    if is_postgresql(home):
        change(home, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    else:
        home.database_file.unlink()
        home.database_file.touch()


def ruin(home: Home) -> None:
    """Put in the database's place what is none of ours."""
    if is_postgresql(home):
        empty(home)
    else:
        home.database_file.write_bytes(b"hello, this is not a database at all" * 100)


def content(home: Home) -> str:
    """All that the database holds, as far as it is text."""
    if is_postgresql(home):
        with plain(home) as connection:
            return str([[*connection.execute(f"SELECT * FROM {t}")] for t in metadata.tables])
    files = sorted(home.database_file.parent.iterdir())
    return "".join(file.read_bytes().decode(errors="replace") for file in files)


def content_of_copy(file: Path) -> str:
    """All that a backup of a database holds, as far as it is text."""
    if file.suffix == ".dump":
        restore = ["pg_restore", "--file=-", str(file)]
        return subprocess.run(restore, check=True, capture_output=True, text=True).stdout
    return file.read_bytes().decode(errors="replace")


def put_back(home: Home, copy: Path) -> None:
    """Let the home's database be what `copy`, a backup, has kept."""
    if is_postgresql(home):
        empty(home)
        url = home.configured_database_url or ""
        restore = ["pg_restore", "--no-owner", "--schema=public", f"--dbname={url}", str(copy)]
        subprocess.run(restore, check=True, capture_output=True, timeout=60)
    else:
        copy.rename(home.database_file)


def on_server(home: Home, statement: str) -> None:
    """Run `statement` on the home's PostgreSQL server; `{name}` is its database's."""
    import psycopg

    url = make_url(home.configured_database_url or "")
    address = url.set(database="postgres").render_as_string(hide_password=False)
    with closing(psycopg.connect(address, autocommit=True)) as connection:
        connection.execute(statement.format(name=url.database))  # type: ignore[call-overload]


def plan_of(home: Home, query: str) -> str:
    """How the database would look for what `query` asks, had it much to look through."""
    with plain(home) as connection:
        if not is_postgresql(home):
            return "\n".join(row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))
        connection.execute("SET enable_seqscan = off")
        return "\n".join(line for (line,) in connection.execute(f"EXPLAIN {query}"))


def columns(home: Home, table: str) -> list[str]:
    """Of a table or a view."""
    with open_database(home) as engine:
        return [column["name"] for column in inspect(engine).get_columns(table)]
