"""The table of faults: how often each was injected, and how often all held afterwards."""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

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


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_COUNTS] = Counter(), Counter()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes hands its counts to the one that reports."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["faults"] = [dict(counts) for counts in session.config.stash[_COUNTS]]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node) -> None:
    told = getattr(node, "workeroutput", {}).get("faults", [{}, {}])
    for counts, more in zip(node.config.stash[_COUNTS], told, strict=True):
        counts.update(more)


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
