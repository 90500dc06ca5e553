"""What the faults' tests share: their table, chance that can be repeated, and nights."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from maejobs.home import Home

from .night import Nights
from .table import Table


@pytest.fixture
def table(pytestconfig: pytest.Config) -> Table:
    return Table(pytestconfig)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Seeded and printed; `MAEJOBS_TEST_SEED` repeats a sequence."""
    seed = int(os.environ.get("MAEJOBS_TEST_SEED") or random.randrange(10**6))
    print(f"MAEJOBS_TEST_SEED={seed}")
    return random.Random(f"{seed} {request.node.name}")


@pytest.fixture
def nights(tmp_path: Path, home: Home) -> Iterator[Nights]:
    """A home whose job trains each night, as its crontab says."""
    nights = Nights(home, tmp_path)
    yield nights
    nights.wait_until_idle()
