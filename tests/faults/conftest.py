"""The table of faults: how often each was injected, and how often all held afterwards."""

import math
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .night import Nights, new_home

WHOLE_TABLE = 200  # kills in all, as `--faults` counts
_COUNTS = pytest.StashKey[tuple[Counter[str], Counter[str]]]()


class Table:
    """Counts the injections of one session by fault."""

    def __init__(self, config: pytest.Config) -> None:
        self._faults = config.getoption("--faults")
        self._injected, self._held = config.stash[_COUNTS]

    @property
    def is_whole(self) -> bool:
        return bool(self._faults >= WHOLE_TABLE)

    def share(self, whole: int, least: int = 1) -> int:
        """How many of `whole` injections this session makes, by `--faults`."""
        return max(least, math.ceil(whole * min(self._faults, WHOLE_TABLE) / WHOLE_TABLE))

    @contextmanager
    def injection(self, fault: str) -> Iterator[None]:
        """Within it, `fault` happens and what must hold afterwards is checked."""
        self._injected[fault] += 1
        yield
        self._held[fault] += 1


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
def nights(tmp_path: Path, empty_database: Path) -> Iterator[Nights]:
    """A home whose job trains each night, as its crontab says."""
    nights = Nights(new_home(tmp_path / "home", empty_database), tmp_path)
    yield nights
    nights.wait_until_idle()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_COUNTS] = Counter(), Counter()


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    injected, held = config.stash[_COUNTS]
    if not injected:
        return
    width = max(map(len, injected))
    terminalreporter.section("faults")
    terminalreporter.write_line(f"{'fault':{width}}  injected  all held")
    for fault, count in sorted(injected.items()):
        terminalreporter.write_line(f"{fault:{width}}  {count:8}  {held[fault]:8}")
    total, good = sum(injected.values()), sum(held.values())
    terminalreporter.write_line(f"{'':{width}}  {total:8}  {good:8}")
