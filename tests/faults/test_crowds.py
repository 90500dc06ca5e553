"""Many at once: two supervisors of one slot, sixteen jobs of one minute."""

import subprocess
from pathlib import Path

import pytest
from running import runs_of

from maejobs.cron.block import Entry, exec_command, render_block
from maejobs.errors import EXIT_NOT_NOW
from maejobs.rundb.run import SUCCEEDED

from .invariants import check, look
from .night import MAEJOBS, Nights
from .table import Table

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3600)]

PAIRS = 100
MINUTES = 5  # of sixteen jobs, of the whole table
JOBS = 16
EACH = 10  # pairs between two looks at the record


def test_two_supervisors_of_one_slot(nights: Nights, table: Table) -> None:
    before = look(nights)
    count = table.share(PAIRS)
    for number in range(1, count + 1):
        with table.injection("two supervisors of one slot"):
            nights.next_night()
            pair = [nights.start("exec", "night") for _ in range(2)]
            codes = sorted(process.wait(90) for process in pair)
            assert codes == [0, EXIT_NOT_NOW], nights.said()
            if number % EACH == 0 or number == count:
                check(nights, before)
                before = look(nights)
            assert len(nights.noted("begin")) == number
            assert len(nights.noted("end")) == number


def test_sixteen_jobs_of_one_minute(nights: Nights, table: Table) -> None:
    names = [f"job{number}" for number in range(JOBS)]
    for name in names:
        (nights.home.jobs_dir / f"{name}.toml").write_text('command = ["echo", "done"]\n')
    lines = [Entry(n, "0 2 * * *", exec_command(MAEJOBS, n, nights.home.root)) for n in names]
    Path(nights.home.crontab).write_bytes(render_block(lines))
    for _ in range(table.share(MINUTES)):
        before = look(nights)
        with table.injection("sixteen jobs at the same minute"):
            slot = nights.next_night()
            nights.called.remove(slot)  # the job `night` is not in this crontab
            called: list[subprocess.Popen[bytes]] = [nights.start("exec", n) for n in names]
            assert [process.wait(120) for process in called] == [0] * JOBS, nights.said()
            check(nights, before)
            runs = [run for run in runs_of(nights.home) if run.slot == slot]
            assert sorted(run.job for run in runs) == sorted(names)
            assert {run.state for run in runs} == {SUCCEEDED}
