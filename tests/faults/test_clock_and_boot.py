"""The host's clock is set, or the host restarts, in the middle of a night."""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from running import kill, runs_of, wait_for

from maejobs.errors import EXIT_NOT_NOW
from maejobs.rundb.run import CATCH_UP, LOST, RUNNING, SUCCEEDED, TIMED_OUT

from .invariants import check, look
from .night import FAKETIME, Nights
from .table import Table

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3600)]

JUMPS = [timedelta(hours=hours) for hours in (-1, 2, -26, 1 / 60, -1 / 60, 50)]
BOOT_ID = "/proc/sys/kernel/random/boot_id"
RESTARTS = 20  # of the whole table


def test_a_clock_that_is_set_while_a_run_goes_on(nights: Nights, table: Table) -> None:
    """The kernel then tells another time of the boot, and so of each process's start."""
    for jump in JUMPS[: table.share(len(JUMPS), least=2)]:
        before = look(nights)
        with table.injection("clock set while a run goes on"):
            slot = nights.next_night()
            with nights.held():
                night = nights.start("exec", "night")
                wait_for(lambda: _states(nights, slot) == [RUNNING], 60)  # noqa: B023
                with _boot_time_moved(nights, jump):
                    nights.set_clock(slot + timedelta(minutes=1) + jump)
                    found = nights.reconcile()
                    assert found["lost"] == [], found
                    # Cron comes again with a slot that a clock that was turned back brings again.
                    nights.set_clock(slot + timedelta(seconds=30))
                    assert nights.call("exec", "night")[0] == EXIT_NOT_NOW
            assert night.wait(60) == 0
            check(nights, before)
            assert _states(nights, slot) == [SUCCEEDED]


def test_a_deadline_is_kept_whatever_the_clock_says(nights: Nights, table: Table) -> None:
    if FAKETIME is None:
        pytest.skip("libfaketime.so.1 is missing")
    stamp = nights.ledger.with_name("stamp")
    for jump in ("-3h", "+3h")[: table.share(2)]:
        with table.injection("clock set under a supervisor with a deadline"):
            nights.next_night()
            nights.write_job("sleep", "60", more='timeout = "2s"\n')
            stamp.write_text("+0s")
            nights.within = (
                "env",
                f"LD_PRELOAD={FAKETIME}",
                f"FAKETIME_TIMESTAMP_FILE={stamp}",
                "FAKETIME_NO_CACHE=1",
                "FAKETIME_DONT_FAKE_MONOTONIC=1",
            )
            night = nights.start("exec", "night")
            nights.within = ()
            wait_for(lambda: [r for r in runs_of(nights.home) if r.state == RUNNING], 60)
            began = time.monotonic()
            stamp.write_text(jump)
            assert night.wait(60) == 1
            took = time.monotonic() - began
            assert 1 < took < 30, took
            nights.wait_until_idle()
            assert [r.state for r in runs_of(nights.home) if r.state != LOST][-1] == TIMED_OUT


def test_a_restart_in_the_middle_of_a_night(
    nights: Nights, table: Table, chance: random.Random
) -> None:
    """All is killed at once, as by a power cut, and the next boot has another id."""
    for number in range(table.share(RESTARTS)):
        before = look(nights)
        with table.injection("restart of the host"):
            slot = nights.next_night()
            with nights.held():
                night = nights.start("exec", "night")
                wait_for(lambda: _states(nights, slot) == [RUNNING], 60)  # noqa: B023
                time.sleep(chance.uniform(0, 0.5))
                for pid in nights.processes():
                    kill(pid, signal.SIGKILL)
            night.wait(90)
            nights.wait_until_idle()
            _boot(nights, number)
            missed = nights.next_night()  # it is off at that hour
            nights.let_time_pass()
            found = nights.reconcile()
            assert len(found["lost"]) == 1, found
            assert len(found["started"]) == 1, found
            check(nights, before)
            (lost,) = [run for run in runs_of(nights.home) if run.slot == slot]
            assert (lost.state, lost.reason) == (LOST, "the host restarted")
            (late,) = [run for run in runs_of(nights.home) if run.slot == missed]
            assert (late.state, late.trigger) == (SUCCEEDED, CATCH_UP)
            assert late.boot_id != lost.boot_id


def _states(nights: Nights, slot) -> list[str]:
    return [run.state for run in runs_of(nights.home) if run.slot == slot]


@contextmanager
def _boot_time_moved(nights: Nights, by: timedelta) -> Iterator[None]:
    """Within it commands read from /proc/stat that the host started so much later."""
    stat = nights.ledger.with_name("stat")
    moved = int(psutil.boot_time() + by.total_seconds())
    lines = Path("/proc/stat").read_text().splitlines()
    stat.write_text("".join(f"btime {moved}\n" if "btime" in x else f"{x}\n" for x in lines))
    nights.put(stat, "/proc/stat")
    yield
    nights.within = ()


def _boot(nights: Nights, number: int) -> None:
    """From now on commands see the id of another boot."""
    file = nights.ledger.with_name("boot")
    file.write_text(f"00000000-0000-4000-8000-{number:012}\n")
    nights.put(file, BOOT_ID)
