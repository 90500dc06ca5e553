"""An engine on the home's database, and a home without one."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from databases import configure
from sqlalchemy import Engine

from maejobs.home import Home
from maejobs.rundb.database import open_database


@pytest.fixture
def engine(home: Home) -> Iterator[Engine]:
    with open_database(home, busy_timeout=5) as engine:
        yield engine


@pytest.fixture
def bare(tmp_path: Path, new_database: Callable[..., str | None]) -> Home:
    """A home whose database has no tables yet."""
    root = tmp_path / "bare"
    home = Home(root, str(root / "crontab"), new_database(migrated=False))
    home.create_directories()
    configure(home)
    return home
