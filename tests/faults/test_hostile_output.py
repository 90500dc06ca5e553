"""What a command may write: events that are none, and a log without end."""

import random
import subprocess
import time
from pathlib import Path

import pytest
from running import runs_of

from maejobs.launch.process import peak_memory
from maejobs.rundb.run import SUCCEEDED

from .hostile import KINDS
from .invariants import check, look
from .night import Nights
from .table import Table

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3600)]

HOSTILE = Path(__file__).with_name("hostile.py")
MOST_MEMORY = 300_000_000  # bytes of the supervisor, with the largest batch of the worst events
FLOOD = 10**9  # bytes
FLOOD_MEMORY = 120_000_000
LIMIT = 1_000_000
WRITE = "import os\nfor _ in range({}): os.write(1, b'0123456789abcde\\n' * 6250)\n"


def test_events_that_are_none(nights: Nights, table: Table, chance: random.Random) -> None:
    kinds = list(KINDS)
    if not table.is_whole:
        kinds = ["bombs", "escapes", "fifo", chance.choice(kinds)]
    for kind in kinds:
        before = look(nights)
        with table.injection("hostile event stream"):
            slot = nights.next_night()
            nights.write_job("{python}", HOSTILE, kind, nights.ledger)
            code, most = _with_peak_memory(nights.start("exec", "night"))
            assert code == 0, (kind, nights.said())
            assert most < MOST_MEMORY, (kind, most)
            check(nights, before)
            (run,) = [run for run in runs_of(nights.home) if run.slot == slot]
            assert (run.state, run.exit_code) == (SUCCEEDED, 0), kind
            for words in (("show", run.id), ("status",), ("runs",)):
                code, shown = nights.quickly(*words)
                assert code == 0, (kind, words, nights.said())
                assert not any(c in shown for c in "\x1b\x07\x9b\r"), (kind, words, shown)


def test_a_flood_of_output(nights: Nights, table: Table, tmp_path: Path) -> None:
    times = table.share(FLOOD) // 100_000
    before = look(nights)
    with table.injection(f"log flood of {times / 10:.0f} MB"):
        began = time.monotonic()
        with (tmp_path / "alone").open("wb") as alone:
            subprocess.run(["python3", "-c", WRITE.format(times)], stdout=alone, check=True)
        by_itself = time.monotonic() - began
        slot = nights.next_night()
        nights.write_job("{python}", "-c", WRITE.format(times), more='log_limit = "1MB"\n')
        began = time.monotonic()
        code, most = _with_peak_memory(nights.start("exec", "night"))
        took = time.monotonic() - began
        assert code == 0, nights.said()
        assert most < FLOOD_MEMORY, most
        assert took < 3 * by_itself + 15, (took, by_itself)
        (run,) = [run for run in runs_of(nights.home) if run.slot == slot]
        status = (Path(run.directory) / "log").stat()
        assert status.st_size == times * 100_000
        assert status.st_blocks * 512 < LIMIT + 65536
        check(nights, before)
        print(f"{took:.1f} s, {by_itself:.1f} s by itself; peak memory {most / 1e6:.0f} MB")


def _with_peak_memory(process: "subprocess.Popen[bytes]") -> tuple[int, int]:
    """Exit code, and the most memory that it had, in bytes."""
    most = 0
    while process.poll() is None:
        most = max(most, peak_memory(process.pid) or 0)
        time.sleep(0.01)
    return process.returncode, most
