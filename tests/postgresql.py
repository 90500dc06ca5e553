"""A PostgreSQL server for the tests: a cluster of its own on a Unix socket, gone at the end."""

import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from maejobs.home import Home

TEMPLATE = "maejobs_template"
PASSWORD = "the-right-one"
# Nothing of it has to outlive a power cut.
SETTINGS = [
    *("listen_addresses=''", "fsync=off", "synchronous_commit=off", "full_page_writes=off"),
    *("autovacuum=off", "shared_buffers=32MB", "max_connections=100"),
]
# Whoever holds the other end of its input has ended, killed or not.
UNDERTAKER = """
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid") && kill -QUIT "$pid"
while grep -q "^State:.*[^ZX] (" "/proc/$pid/status"; do sleep 0.1; done  # or nobody buries it
rm -rf "$1"
"""
HBA = "local all keyed scram-sha-256\nlocal all all trust\n"


def programs() -> Path | None:
    """Where Debian keeps the newest server's programs, or where the PATH has them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: p.parts[-3])
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


class Server:
    """A server with a migrated template, of which each test gets its own copy."""

    def __init__(self, place: Path, bin_directory: Path) -> None:
        self._place, self._bin = place, bin_directory
        self._numbers = itertools.count()
        initdb = ("initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8")
        self._call(*initdb, "--locale=C", "-D", str(place / "data"))
        self.start()

    def start(self) -> None:
        options = [f"-k {self._place}", *(f"-c {setting}" for setting in SETTINGS)]
        self._ctl("start", "-o", " ".join(options), "-l", str(self._place / "log"))

    def stop(self) -> None:
        """As it ends when somebody pulls the plug: nobody is waited for."""
        self._ctl("stop", "-m", "immediate")

    def prepare(self) -> None:
        """Make the template, and a role that needs a password."""
        from maejobs.rundb.migrate import upgrade

        (self._place / "data" / "pg_hba.conf").write_text(HBA)
        self._ctl("reload")
        self.execute(f"CREATE ROLE keyed SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
        self.execute(f"CREATE DATABASE {TEMPLATE}")
        upgrade(Home(Path("/nowhere"), configured_database_url=self.url(TEMPLATE)))

    @contextmanager
    def database(self, migrated: bool = True) -> Iterator[str]:
        """The URL of a new database, which is dropped in the end."""
        url = self.new_database(TEMPLATE if migrated else None)
        yield url
        self.execute(f"DROP DATABASE IF EXISTS {make_url(url).database} WITH (FORCE)")

    def new_database(self, template: str | None = TEMPLATE) -> str:
        """The URL of a new database; of an empty one without a template."""
        name = f"test_{next(self._numbers)}"
        # Where nothing has to outlive a power cut, copied files take half the time of a log of
        # their pages; before PostgreSQL 15 there is no other way.
        version = int((self._place / "data" / "PG_VERSION").read_text())
        how = " STRATEGY FILE_COPY" if version >= 15 else ""
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template or 'template0'}{how}")
        return self.url(name)

    def url(self, name: str, user: str = "postgres") -> str:
        return f"postgresql://{user}@/{name}?host={self._place}"

    def execute(self, statement: str) -> None:
        import psycopg

        address = f"host={self._place} user=postgres dbname=postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement)

    def _ctl(self, *words: str) -> None:
        self._call("pg_ctl", "-D", str(self._place / "data"), "-w", "-t", "120", *words)

    def _call(self, program: str, *words: str) -> None:
        as_postgres = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        command = [*as_postgres, str(self._bin / program), *words]
        with (self._place / "output").open("a") as output:  # a server would keep a pipe open
            done = subprocess.run(
                command, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        assert done.returncode == 0, (self._place / "output").read_text()


@contextmanager
def gone_with_us(place: Path) -> Iterator[None]:
    """When it ends, or this process, the server in `place` is stopped and `place` removed."""
    # No child of ours: a tree of processes that a test kills would take it for a stray.
    command = ["setsid", "--fork", "sh", "-c", UNDERTAKER, "sh", str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as forked:
        forked.wait(60)
        try:
            yield
        finally:
            forked.communicate()
            give_up = time.monotonic() + 60
            while place.exists() and time.monotonic() < give_up:
                time.sleep(0.05)


def why_not() -> str | None:
    """Why no server can be had here, or None."""
    if programs() is None:
        return "no PostgreSQL server is installed: Debian's package postgresql brings it"
    return None if find_spec("psycopg") else "psycopg is not installed"


@contextmanager
def running_server() -> Iterator[Server]:
    bin_directory = programs()
    if bin_directory is None or why_not():
        pytest.skip(why_not() or "")
    # Short, for a socket's path has at most 107 bytes.
    place = Path(tempfile.mkdtemp(prefix="maejobs-pg-"))
    place.chmod(0o711)  # some tests do things as another user
    with gone_with_us(place):
        if os.getuid() == 0:
            shutil.chown(place, "postgres", "postgres")
        server = Server(place, bin_directory)
        server.prepare()
        yield server


def rows_of(url: str, query: str) -> list[dict[str, Any]]:
    """What the plain driver reads; JSON as text, as SQLite has it."""
    import psycopg
    from psycopg.rows import dict_row
    from psycopg.types.json import set_json_loads

    with psycopg.connect(url, row_factory=dict_row) as connection:
        set_json_loads(lambda data: data.decode() if isinstance(data, bytes) else data, connection)
        return connection.execute(query).fetchall()  # type: ignore[arg-type]
