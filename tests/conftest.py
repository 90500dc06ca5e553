"""What tests share: a home of their own with a database, job files, and the installed command."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
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


@pytest.fixture
def home(tmp_path: Path, empty_database: Path) -> Home:
    """A home with an empty database, no jobs, and a crontab that is a file."""
    home = Home(tmp_path / "home", crontab=str(tmp_path / "home" / "crontab"))
    home.create_directories()
    home.config_file.write_text('crontab = "crontab"\n')
    shutil.copy(empty_database, home.database_file)
    return home


@pytest.fixture(scope="session")
def postgresql() -> Iterator["Server"]:
    """A PostgreSQL server; without one the tests that need it are skipped."""
    from postgresql import running_server

    with running_server() as server:
        yield server


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
    parser.addoption("--kills", type=int, default=3, help="how often tests kill real training")
    parser.addoption("--nights", type=int, default=2, help="how long a month of tests is")
    parser.addoption("--stops", type=int, default=4, help="how often tests stop one campaign")
    parser.addoption(
        "--one-in", type=int, default=3, help="changes of DST that an expression meets; 1: all"
    )
    parser.addoption(
        "--faults", type=int, default=8, help="kills that the fault table makes; 200: all of it"
    )


def pytest_report_header() -> str:
    return f"maejobs: {MAEJOBS}, {os.cpu_count()} cores"
