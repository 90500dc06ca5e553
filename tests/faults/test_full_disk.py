"""A disk that is full from some write of a night on: each of them, one after another."""

import random
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from databases import is_postgresql
from running import runs_of
from small_disk import needs_root, small_disk

from maejobs.home import Home
from maejobs.rundb.run import FAILED, LOST, SUCCEEDED

from .invariants import check, look
from .night import Nights
from .table import Table

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3600), needs_root]

BLOCK = 4096  # bytes: what tmpfs gives at once
ALWAYS = 2  # places at the beginning that each run of this looks at


def test_at_every_write_of_a_night(
    tmp_path: Path, new_home: Callable[[Path], Home], table: Table, chance: random.Random
) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    with small_disk(place, "8m"):
        nights = Nights(new_home(place / "home"), tmp_path)
        nights.undisturbed()
        needed = _blocks_of_a_night(nights, place)
        count = table.share(needed - ALWAYS + 1)
        places = [*range(ALWAYS), *sorted(chance.sample(range(ALWAYS, needed + 1), count))]
        told: Counter[str] = Counter()
        for left in places:
            before = look(nights)
            with table.injection("disk full at a write of a night"):
                slot = nights.next_night()
                with _left(place, left):
                    code, _ = nights.call("exec", "night")
                assert code in (0, 1), nights.said()
                check(nights, before)
                (run,) = [run for run in runs_of(nights.home) if run.slot == slot]
                assert nights.noted("end")[-1] == run.id, "the command was not let to its end"
                # Its supervisor's own verdict, if there was room for the first record at all; a
                # server has its own disk.
                verdict = FAILED if code else SUCCEEDED
                is_told = left or is_postgresql(nights.home)
                assert run.state == (verdict if is_told else LOST), (left, run)
                told[run.state] += 1
        print(f"{needed} blocks are written in a night; recorded are {dict(told)}")


def _blocks_of_a_night(nights: Nights, place: Path) -> int:
    """The most blocks that an undisturbed night takes at once."""
    before = least = shutil.disk_usage(place).free
    over = threading.Event()

    def watch() -> None:
        nonlocal least
        while not over.wait(0.001):
            least = min(least, shutil.disk_usage(place).free)

    watcher = threading.Thread(target=watch)
    watcher.start()
    nights.undisturbed()
    over.set()
    watcher.join()
    return (before - least) // BLOCK


@contextmanager
def _left(place: Path, blocks: int) -> Iterator[None]:
    """Within it, `blocks` of the disk at `place` are free."""
    filler = place / "filler"
    with filler.open("wb") as file:
        file.write(bytes(shutil.disk_usage(place).free - blocks * BLOCK))
    assert shutil.disk_usage(place).free == blocks * BLOCK
    yield
    filler.unlink()
