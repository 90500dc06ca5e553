"""Opens the run database: pragmas, write locks taken at once, and the version check."""

import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from maejobs.errors import EXIT_USAGE, MaejobsError, UserError
from maejobs.files import FILE_MODE, make_private_directory
from maejobs.home import Home
from maejobs.rundb.network_disk import why_refused
from maejobs.rundb.schema import REVISION

BUSY_TIMEOUT_SECONDS = 30.0
ANSWER_SECONDS = 1.0  # for an answer, once what it waits for is there or is given up
ROOM_BESIDE = 2**16  # bytes; of its log and index SQLite makes the latter 32 kB at once
READS_ONLY = "maejobs_reads_only"
POSTGRESQL = "postgresql+psycopg"  # the driver that the extra `postgresql` installs
UNDEFINED_TABLE = "42P01"  # PostgreSQL's code
_REVISION = re.compile(r"\d{4}", re.ASCII)  # of ours
_SECRET = re.compile(r"://.*@", re.DOTALL)


class DatabaseUnavailable(MaejobsError):
    """The database cannot be used now; the message says why and what to do."""


class OnNetworkDisk(DatabaseUnavailable):
    """The SQLite file lies where other hosts may write to it."""

    exit_code = EXIT_USAGE


def open_engine(
    url: str | URL,
    busy_timeout: float = BUSY_TIMEOUT_SECONDS,
    answers_within: float | None = None,
) -> Engine:
    """An engine for `url`. SQLite: WAL, synchronous=FULL, foreign keys, `BEGIN IMMEDIATE`.

    Deferred transactions that read and then write fail at once under contention, whatever the
    timeout, so every `begin()` takes the write lock first. PostgreSQL's writers take one of ours,
    so that two who look and then insert do not meet there either. `busy_timeout` (seconds) is how
    long that lock, and a server that has vanished, is waited for; `answers_within` how long one
    that is there and is stuck (None: for ever). Raises UserError for a bad URL.
    """
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        raise UserError(f"database_url {shown_url(url)} cannot be used: it is no URL") from None
    if parsed.drivername in ("postgresql", "postgres"):  # the latter as for libpq
        parsed = parsed.set(drivername=POSTGRESQL)
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise UserError(
            f"database_url {shown_url(parsed)} cannot be used: it is to be of PostgreSQL or SQLite"
        )
    is_postgresql, settings = parsed.drivername == POSTGRESQL, {}
    if is_postgresql:
        from maejobs.rundb import postgresql

        settings = postgresql.settings_of_the_driver(parsed, busy_timeout)
    try:
        engine = create_engine(parsed, poolclass=NullPool, connect_args=settings)
    except (SQLAlchemyError, ImportError) as error:
        # SQLAlchemy's own words may hold the whole URL.
        why = str(error).replace(parsed.render_as_string(hide_password=False), shown_url(parsed))
        if isinstance(error, ImportError) and is_postgresql:
            why = f"{why}; `pip install 'maejobs[postgresql]'` brings its driver"
        raise UserError(f"database_url {shown_url(parsed)} cannot be used: {why}") from None
    if parsed.get_backend_name() == "sqlite":
        _configure_sqlite(engine, busy_timeout)
    elif is_postgresql:
        postgresql.configure(engine, busy_timeout, answers_within)
    return engine


def shown_url(url: str | URL) -> str:
    """`url` fit for a screen, a log or a mail: without its password."""
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        return _SECRET.sub("://***@", str(url))
    return parsed.difference_update_query(["password"]).render_as_string(hide_password=True)


def place_of(home: Home) -> str:
    """Where the home's database is: a file's path, or a URL without its password."""
    url = home.configured_database_url
    return str(home.database_file) if url is None else shown_url(url)


def engine_of(
    home: Home,
    busy_timeout: float = BUSY_TIMEOUT_SECONDS,
    answers_within: float | None = None,
) -> Engine:
    """An engine for the home's database, whatever characters the home's path holds.

    Raises OnNetworkDisk, DatabaseUnavailable where the settings do not tell which it is, UserError
    for a bad URL, and for a SQLite file that is not named from the root on: cron, who stands
    elsewhere, would have another.
    """
    if home.unreadable:
        raise DatabaseUnavailable(f"{home.unreadable} (no setting counts until that is mended)")
    url = home.configured_database_url
    file = str(home.database_file)
    place = url or URL.create("sqlite", database=file)
    engine = open_engine(place, busy_timeout, answers_within)
    if (on_disk := _sqlite_file(engine)) is None:
        return engine
    if not on_disk.is_absolute():
        raise UserError(
            f"database_url {shown_url(engine.url)} cannot be used: it names another file from each "
            "directory; write its path from the root on, like sqlite:////var/lib/maejobs/runs.db"
        )
    if why := why_refused(on_disk):
        raise OnNetworkDisk(why)
    return engine


def _sqlite_file(engine: Engine) -> Path | None:
    """The file that SQLite is to open; None: the database is another's."""
    if engine.dialect.name != "sqlite":
        return None
    return Path((engine.url.database or "").removeprefix("file:"))  # which a URI begins with


def _is_on_full_disk(file: Path) -> bool:
    """Whether there is no room for what SQLite keeps beside its file."""
    try:
        return shutil.disk_usage(file.parent).free < ROOM_BESIDE
    except OSError:
        return False


def _configure_sqlite(engine: Engine, busy_timeout: float) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(busy_timeout * 1000)}")
        _use_wal(cursor, busy_timeout)
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        reads_only = connection.get_execution_options().get(READS_ONLY)
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def _use_wal(cursor: sqlite3.Cursor, patience: float) -> None:
    """Turn to WAL; SQLite's own timeout does not cover several who do so on a new file."""
    end = time.monotonic() + patience
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= end:
                raise
        time.sleep(0.02)


def reading(engine: Engine) -> Connection:
    """A connection that only reads, and so waits for no writer."""
    return engine.connect().execution_options(**{READS_ONLY: True})


def revision_of(engine: Engine) -> str | None:
    """The Alembic revision of the database; None where it has no tables of ours."""
    with reading(engine) as connection:
        try:
            revision: str | None = connection.execute(
                text("SELECT version_num FROM alembic_version")
            ).scalar()
        except (OperationalError, ProgrammingError) as error:
            # Neither a lock on it nor a refusal to read it, whose words name the table too.
            missing = getattr(error.orig, "sqlstate", None) == UNDEFINED_TABLE
            if missing or "no such table" in str(error.orig):
                return None
            raise
        return revision


def found_revision(home: Home) -> str | None:
    """The version of the home's database; None where there is none. Raises DatabaseUnavailable."""
    engine = engine_of(home)
    try:
        if (file := _sqlite_file(engine)) and not file.exists():
            return None
        with explained(home):
            return revision_of(engine)
    finally:
        engine.dispose()


@contextmanager
def open_database(
    home: Home,
    busy_timeout: float = BUSY_TIMEOUT_SECONDS,
    answers_within: float | None = None,
) -> Iterator[Engine]:
    """The home's database, checked to be of this version. In seconds, as with `open_engine`.

    Raises DatabaseUnavailable: missing, unreadable, locked past the timeout, of another version,
    on a network disk.
    """
    engine = engine_of(home, busy_timeout, answers_within)
    try:
        if (file := _sqlite_file(engine)) and not file.exists():
            raise DatabaseUnavailable(f"no run database at {file}; `maejobs init` makes it")
        with explained(home):
            found = revision_of(engine)
        if found != REVISION:
            raise DatabaseUnavailable(other_version(home, found))
        with explained(home):
            yield engine
    finally:
        engine.dispose()


def hurried_database(home: Home, patience: float) -> AbstractContextManager[Engine]:
    """`open_database` where somebody waits: a server that is stuck is not waited for either."""
    return open_database(home, patience, patience + ANSWER_SECONDS)


@contextmanager
def explained(home: Home) -> Iterator[None]:
    """Turn what a driver says inside into DatabaseUnavailable, with the database's place."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        told = " ".join(str(cause).split())  # PostgreSQL's take several lines
        if isinstance(cause, sqlite3.Error) and _is_on_full_disk(Path(place_of(home))):
            told += "; its disk is full"  # which SQLite calls an I/O error
        raise DatabaseUnavailable(f"run database {place_of(home)}: {told}") from error


def other_version(home: Home, found: str | None) -> str:
    """What to say of a database of the version `found`, which is not this one."""
    place = place_of(home)
    if found is None:
        return f"run database {place} has no tables yet; `maejobs db upgrade` makes them"
    if not _REVISION.fullmatch(found):
        return (
            f"run database {place}: its table alembic_version is another program's ({found}); give "
            "maejobs a database of its own"
        )
    if found < REVISION:
        return (
            f"run database {place} is of version {found}, this maejobs needs {REVISION}; "
            "`maejobs db upgrade` brings it up"
        )
    return (
        f"run database {place} is of version {found}, newer than this maejobs ({REVISION}); "
        "upgrade maejobs"
    )


def protect_file(home: Home, engine: Engine) -> None:
    """Make the SQLite file if need be, mode 0600, which SQLite copies to its -wal and -shm files.

    Made before SQLite opens it: files of it that are open already keep the mode they have.
    """
    if home.configured_database_url is None:
        make_private_directory(home.database_file.parent)
    if file := _sqlite_file(engine):
        file.touch(FILE_MODE)  # one that was opened to a group stays so
