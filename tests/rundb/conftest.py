"""An engine on the home's database; in modules that say `BOTH = True` on PostgreSQL too."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from maejobs.home import Home
from maejobs.rundb.database import open_database


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    only = metafunc.definition.get_closest_marker("sqlite_only")
    if "backend" in metafunc.fixturenames and getattr(metafunc.module, "BOTH", False) and not only:
        metafunc.parametrize("backend", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """Where the home's database is."""
    return getattr(request, "param", "sqlite")


@pytest.fixture
def home(home: Home, backend: str, request: pytest.FixtureRequest) -> Home:
    if backend == "sqlite":
        return home
    url = request.getfixturevalue("postgresql").new_database()
    home.config_file.write_text(f'crontab = "crontab"\ndatabase_url = "{url}"\n')
    home.database_file.unlink()
    return replace(home, configured_database_url=url)


@pytest.fixture
def engine(home: Home) -> Iterator[Engine]:
    with open_database(home, busy_timeout=5) as engine:
        yield engine
