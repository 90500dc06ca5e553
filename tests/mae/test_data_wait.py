"""A loader that cannot keep up shows in the history and in the events."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mae.config import Config
from mae.train import loop
from mae.train.campaign import Campaign, read_history
from mae.train.events import Events
from mae.train.stopping import Stop
from mae.train.window import Window


def waits(root: Path, config: Config) -> list[float]:
    """The shares of the time of each four steps that the history tells."""
    run = config.run.model_copy(update={"log_every_steps": 4})
    loop.pretrain(root, config.model_copy(update={"run": run}), Stop(), Events(root / "events"))
    return [row["data_wait"] for row in read_history(Campaign(root))]


@pytest.fixture
def waited(monkeypatch) -> list[float]:
    """Seconds waited for the batches of each four steps: steps may take any time on a busy host."""
    seconds: list[float] = []
    close = Window.close

    def noting(window: Window, *arguments) -> tuple[float, float, float]:
        seconds.append(window.waited)
        return close(window, *arguments)

    monkeypatch.setattr(Window, "close", noting)
    return seconds


@pytest.fixture
def slowly(monkeypatch) -> Callable[[float], None]:
    """Make every batch come that many seconds late."""
    batches = loop.training_batches

    def slow_down(seconds: float) -> None:
        def late(*arguments) -> Iterator:
            for batch in batches(*arguments):
                time.sleep(seconds)
                yield batch

        monkeypatch.setattr(loop, "training_batches", late)

    return slow_down


def test_a_loader_that_cannot_keep_up_says_so(tmp_path, tiny, slowly, waited):
    slowly(0.2)
    found = waits(tmp_path, tiny)
    assert len(found) == 3
    assert all(0 < wait < 1 for wait in found)
    assert min(waited) > 0.75
    lines = map(json.loads, (tmp_path / "events").read_text().splitlines())
    (told,) = (e["value"] for e in lines if e.get("name") == "data_wait")
    assert told == pytest.approx(found[0], abs=1e-4)


def test_a_wait_is_of_its_own_window(tmp_path, tiny, monkeypatch, waited):
    batches = loop.training_batches

    def late_at_first(*arguments) -> Iterator:
        for number, batch in enumerate(batches(*arguments)):
            time.sleep(0.2 if number < 4 else 0)
            yield batch

    monkeypatch.setattr(loop, "training_batches", late_at_first)
    found = waits(tmp_path, tiny)
    assert waited[0] > 0.75 > max(waited[1:])
    assert found[0] == max(found)
