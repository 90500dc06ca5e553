"""The run database copied while it is in use, proven, and under its name only then.

DESTINATION/runs-20261128T031500Z.db      SQLite: a database like any other
DESTINATION/runs-20261128T031500Z.dump    PostgreSQL: pg_dump's custom format, for pg_restore
DESTINATION/origin                        which database they are of
"""

import os
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Engine

from maejobs.errors import MaejobsError, UserError
from maejobs.files import make_private_directory, replacing, write_atomically
from maejobs.home import Home
from maejobs.keep.backup import ORIGIN
from maejobs.keep.destinations import NOTE_NAME, note_place, require_mounted
from maejobs.keep.lock import hold
from maejobs.rundb.database import (
    BUSY_TIMEOUT_SECONDS,
    DatabaseUnavailable,
    engine_of,
    explained,
    found_revision,
    place_of,
)

NAME = re.compile(r"runs-\d{8}T\d{6}Z\.(db|dump)")


@dataclass(frozen=True)
class DatabaseBackup:
    """What a backup did, or, in a dry run, would do."""

    path: Path
    bytes: int  # 0 in a dry run: a copy has no free pages, so its size is not known before
    removed: list[str]  # older ones that made way
    dry_run: bool
    undeleted: tuple[str, ...] = ()  # older ones that could not be deleted, a line each


def back_up_database(
    home: Home,
    destination: Path,
    keep: int,
    now: datetime,
    dry_run: bool = False,
    afresh: bool = False,
) -> DatabaseBackup:
    """Have a copy of the home's database in `destination`, and at most `keep` of them in all.

    Whoever writes meanwhile is not kept waiting. Older ones make way only after the new one has
    been proven. A database of another version is copied too: before an upgrade, say. A destination
    that has held copies and holds none is refused, unless `afresh`.

    Raises DatabaseUnavailable, UserError for a destination that cannot be meant, MaejobsError where
    its disk is not mounted, there is no room or the copy fails, NotNow while another backup is at
    work there.
    """
    revision = found_revision(home)
    if revision is None:
        raise DatabaseUnavailable(f"run database {place_of(home)}: there is nothing in it to keep")
    _refuse_anothers(home, destination)
    note = home.root / NOTE_NAME
    if not afresh:
        require_mounted(note, destination, bool(_copies(destination)))
    engine = engine_of(home)
    is_sqlite = engine.dialect.name == "sqlite"
    suffix = "db" if is_sqlite else "dump"
    path = destination / f"runs-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.{suffix}"
    if dry_run:
        return DatabaseBackup(path, 0, _too_many(destination, keep - 1, path.name), dry_run)
    try:
        make_private_directory(destination)
        with hold(destination), explained(home):
            for left in destination.glob(".runs-*.tmp"):  # by one that was killed
                left.unlink()
            write_atomically(destination / ORIGIN, os.fsencode(f"{place_of(home)}\n"))
            with replacing(path) as temporary:
                if is_sqlite:
                    _copy_sqlite(engine, temporary, revision)
                else:
                    _dump_postgresql(engine, temporary)
            note_place(note, destination)
            too_many = _too_many(destination, keep - 1, path.name)
            undeleted = tuple(filter(None, (_delete(destination / name) for name in too_many)))
    except OSError as error:
        raise MaejobsError(f"{error.filename or destination}: {error.strerror or error}") from error
    finally:
        engine.dispose()
    removed = [name for name in too_many if not (destination / name).exists()]
    return DatabaseBackup(path, path.stat().st_size, removed, dry_run, undeleted)


def _refuse_anothers(home: Home, destination: Path) -> None:
    if destination.exists() and not destination.is_dir():
        raise UserError(f"{destination}: not a directory")
    origin = destination / ORIGIN
    if origin.is_file() and (named := os.fsdecode(origin.read_bytes()).strip()) != place_of(home):
        raise UserError(
            f"{destination}: holds the backup of {named}, not of {place_of(home)}; name another "
            f"destination, or delete {origin} if the database has moved"
        )


def _too_many(destination: Path, keep: int, made: str) -> list[str]:
    """The names of backups beyond the newest `keep`, oldest first, and beside `made`.

    Those with later names are of a clock that was ahead: they go first, or they would always stay.
    """
    names = sorted(_copies(destination) - {made}, key=lambda name: (name < made, name))
    return names[: max(len(names) - keep, 0)]


def _delete(path: Path) -> str | None:
    """Why it cannot be deleted; None: it is."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        return f"{path}: cannot be deleted: {error.strerror}"
    return None


def _copies(destination: Path) -> set[str]:
    if not destination.is_dir():
        return set()
    return {path.name for path in destination.iterdir() if NAME.fullmatch(path.name)}


def _copy_sqlite(engine: Engine, target: Path, revision: str) -> None:
    """A copy without free pages, of one moment; readers and writers go on."""
    source = Path(str(engine.url.database))
    needed, free = source.stat().st_size, shutil.disk_usage(target.parent).free
    if free < needed:
        raise MaejobsError(f"{target.parent}: {free:,} bytes free, {needed:,} needed for a copy")
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("VACUUM INTO ?", [str(target)])
    finally:
        connection.close()
    with closing(sqlite3.connect(f"file:{quote(str(target))}?immutable=1", uri=True)) as copy:
        found = [line for (line,) in copy.execute("PRAGMA integrity_check")]
        if found != ["ok"]:
            raise MaejobsError(f"{engine.url.database}: its copy is damaged: {found[0]}")
        copied = copy.execute("SELECT version_num FROM alembic_version").fetchone()
        if copied != (revision,):
            raise MaejobsError(f"{engine.url.database}: was brought to another version meanwhile")


def _dump_postgresql(engine: Engine, target: Path) -> None:
    """What pg_dump makes of it; no password stands on a command line, for all to see."""
    from psycopg.conninfo import make_conninfo

    _, words = engine.dialect.create_connect_args(engine.url)
    words.pop("context")  # of the driver's own
    environment = os.environ | {"PGPASSWORD": str(words.pop("password", ""))}
    patience = f"--lock-wait-timeout={int(BUSY_TIMEOUT_SECONDS * 1000)}"  # else it waits for ever
    dump = ["pg_dump", "--format=custom", "--no-password", patience, f"--file={target}"]
    _call([*dump, f"--dbname={make_conninfo(**words)}"], environment)
    listing = _call(["pg_restore", "--list", str(target)], dict(os.environ))
    for name in ("jobs", "runs"):
        if not re.search(rf" TABLE DATA \S+ {name} ", listing):
            raise MaejobsError(f"{target.parent}: the dump lacks table {name}")


def _call(command: list[str], environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise MaejobsError(
            f"{command[0]} is not installed; Debian's package postgresql-client brings it"
        ) from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").replace(f"{command[0]}: ", "").splitlines()
        why = " ".join(said[:2])  # the second is a detail: of versions that differ, which
        raise MaejobsError(f"{command[0]}: {why or f'exit {done.returncode}'}")
    return done.stdout.decode(errors="replace")
