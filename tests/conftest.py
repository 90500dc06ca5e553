"""What tests share: a home of their own with a database, job files, and the installed command."""

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from databases import configure
from hypothesis import HealthCheck, settings

from maejobs.cron import user_target
from maejobs.cron.dialect import host_dialect
from maejobs.home import Home

if TYPE_CHECKING:
    from postgresql import Server

MAEJOBS = Path(sys.executable).parent / "maejobs"
# Two of the suite's processes share two cores: threads that wait for each other only spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A busy host takes seconds for what takes none on a quiet one; no test is about that.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
pytest_plugins = ["faults.table"]  # here, for the process that reports collects nothing itself


@pytest.fixture(autouse=True)
def no_home_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory) -> None:
    """No test may meet the user's own home, whatever it forgets to say."""
    unnamed = tmp_path_factory.mktemp("unnamed")
    monkeypatch.setenv("MAEJOBS_HOME", str(unnamed / "home"))
    monkeypatch.setattr(user_target, "user_lock_file", lambda *_: unnamed / "crontab.lock")
    monkeypatch.delenv("MAEJOBS_CLOCK_SHIFT", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)


@pytest.fixture(autouse=True)
def no_dialect_of_another_test() -> None:
    host_dialect.cache_clear()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file, made once."""
    from maejobs.rundb.migrate import upgrade

    home = Home(tmp_path_factory.mktemp("template") / "home")
    home.create_directories()
    upgrade(home)
    return home.database_file


@pytest.fixture(scope="session")
def postgresql() -> Iterator["Server"]:
    """A PostgreSQL server; without one the tests that need it are skipped."""
    from postgresql import running_server

    with running_server() as server:
        yield server


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """Where the homes' databases are: "sqlite" or "postgresql"."""
    return getattr(request, "param", _asked_for(request.config))


@pytest.fixture
def new_database(
    backend: str, request: pytest.FixtureRequest
) -> Iterator[Callable[..., str | None]]:
    """`new_database()`: the `database_url` of one, without our tables if `migrated=False`.

    None: it is the file in the home.
    """
    if backend == "sqlite":
        yield lambda migrated=True: None
        return
    server: Server = request.getfixturevalue("postgresql")
    with ExitStack() as at_the_end:
        yield lambda migrated=True: at_the_end.enter_context(server.database(migrated))


@pytest.fixture
def new_home(
    new_database: Callable[..., str | None], empty_database: Path
) -> Callable[[Path], Home]:
    """`new_home(root)`: one with an empty database, no jobs, and a crontab that is a file."""

    def make(root: Path) -> Home:
        home = Home(root, str(root / "crontab"), configured_database_url=new_database())
        home.create_directories()
        if home.configured_database_url is None:
            shutil.copy(empty_database, home.database_file)
        configure(home)
        return home

    return make


@pytest.fixture
def home(tmp_path: Path, new_home: Callable[[Path], Home]) -> Home:
    """A home with an empty database, no jobs, and a crontab that is a file."""
    return new_home(tmp_path / "home")


@pytest.fixture
def write_job(home: Home) -> Callable[..., None]:
    """`write_job("quick", 'command = ["true"]')` drops a job file into the home."""

    def write(name: str, text: str) -> None:
        (home.jobs_dir / f"{name}.toml").write_text(text)

    return write


@pytest.fixture
def maejobs(home: Home) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the installed command on the home, with an environment as bare as cron's."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(MAEJOBS), *arguments],
            env={
                "HOME": str(home.root),
                "PATH": "/usr/bin:/bin",
                "MAEJOBS_HOME": str(home.root),
                **environment,
            },
            cwd=home.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def inside(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """As `maejobs`, but within this process: ten times as fast, for what needs no process."""
    from maejobs.cli import cli
    from maejobs.cli.errors import report

    monkeypatch.setenv("MAEJOBS_HOME", str(home.root))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["maejobs", *arguments])
        capfd.readouterr()
        code = report(cli)
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, code, out, err)

    return run


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=["sqlite", "postgresql"],
        default="sqlite",
        help="where the tests' homes have their databases",
    )
    parser.addoption("--kills", type=int, default=2, help="how often tests kill real training")
    parser.addoption("--nights", type=int, default=2, help="how long a month of tests is")
    parser.addoption("--stops", type=int, default=4, help="how often tests stop one campaign")
    parser.addoption(
        "--one-in", type=int, default=6, help="changes of DST that an expression meets; 1: all"
    )
    parser.addoption(
        "--faults", type=int, default=8, help="kills that the fault table makes; 200: all of it"
    )


def pytest_configure(config: pytest.Config) -> None:
    if _asked_for(config) == "postgresql":
        from postgresql import why_not

        if why := why_not():
            raise pytest.UsageError(f"--database postgresql: {why}")


# What is imported for the tests stays: to look through it for garbage took a quarter of the time
# that it takes to collect them, and has each copy of this process copy its pages.
def pytest_collectstart() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marked = metafunc.definition.get_closest_marker
    both = marked("both_databases") and not marked("sqlite")
    if both and "backend" in metafunc.fixturenames and _asked_for(metafunc.config) == "sqlite":
        metafunc.parametrize("backend", ["sqlite", "postgresql"], indirect=True)


def pytest_runtest_setup(item: pytest.Function) -> None:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    backend = parameters.get("backend", _asked_for(item.config))
    if (marker := item.get_closest_marker("sqlite")) and backend != "sqlite":
        pytest.skip(f"about SQLite: {marker.args[0]}")


def _asked_for(config: pytest.Config) -> str:
    asked: str = config.getoption("database")
    return asked


def pytest_report_header(config: pytest.Config) -> str:
    return f"maejobs: {MAEJOBS}, {os.cpu_count()} cores, databases: {_asked_for(config)}"
