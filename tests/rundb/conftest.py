"""An engine on the home's database."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from maejobs.home import Home
from maejobs.rundb.database import open_database


@pytest.fixture
def engine(home: Home) -> Iterator[Engine]:
    with open_database(home, busy_timeout=5) as engine:
        yield engine
