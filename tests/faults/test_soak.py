"""A month of nights on a clock that is ahead: what is recorded agrees exactly with another count.

`pytest tests/faults/test_soak.py --nights 31 -s` goes through the whole of a month; a few nights
are in every run. maejobs' command line runs for each call of cron, in a process of its own (a copy
of this one, so that a month takes minutes), and so does what reconcile starts; commands, kills and
files are real. Only the time of day is not. `month.py` draws what happens, and counts.
"""

import json
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path

import psutil
import pytest
from databases import away
from month import (
    FATES,
    HOSTS_RETRIES,
    JOBS,
    MINUTE,
    RETRIES,
    WELL,
    ZONE,
    Fate,
    Job,
    Slot,
    plan,
    slots_of,
)
from recorded_runs import rows
from running import end_of, kill, lives, shell, wait_for

from maejobs.cli import called, main, pausing, probe, scheduling, unattended
from maejobs.home import Home
from maejobs.launch.revision import code_revision
from maejobs.supervise import execute
from maejobs.supervise import slot as slot_of_call
from maejobs.watch import complaints, reconcile

# Imported once, and not by each copy of this process.
LATE = (called, pausing, probe, scheduling, unattended, execute, slot_of_call)
LATER = (complaints, reconcile)

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3600)]

# Nights on which the clocks are changed; what is gone through ends with one of them, or its month.
CHANGES = {"spring": date(2026, 3, 29), "autumn": date(2026, 10, 25)}
FATE = """
echo $MAEJOBS_RUN_ID >> "$MAEJOBS_HOME/starts"; echo $$ > "$MAEJOBS_RUN_DIR/pid"
. "$MAEJOBS_HOME/fates/$0"
"""
KEYS = f"""
retries = {RETRIES}
infrastructure_retries = {HOSTS_RETRIES}
retry_delay = 0
grace = "1s"
"""
EXIT_CODES = {"succeeded": 0, "skipped": 75}  # else 1
SEED = 17  # of few nights, these meet most fates


class Call:
    """`maejobs ARGUMENTS` at a moment of the month, as cron calls it."""

    def __init__(self, home: Home, at: datetime, *arguments: str, said: str = "said") -> None:
        self._code: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        try:
            os.environ.clear()
            os.environ.update(
                HOME=str(home.root),
                PATH="/usr/bin:/bin",
                TZ=ZONE.key,
                MAEJOBS_ZONE=ZONE.key,
                MAEJOBS_CLOCK_SHIFT=f"{at.timestamp() - time.time():.3f}",
            )
            output = os.open(home.root / said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for descriptor in (1, 2):
                os.dup2(output, descriptor)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
            sys.argv = ["maejobs", *arguments, "--home", str(home.root)]
            main()
        except SystemExit as left:
            os._exit(int(left.code or 0))
        finally:
            os._exit(99)

    def poll(self) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


@dataclass
class Month:
    """Performs a plan on a home."""

    home: Home
    every: int  # so many minutes cron calls reconcile; more than 15 would be an absence
    wrong: list[str] = field(default_factory=list)

    def call(self, at: datetime, *arguments: str) -> int:
        return end_of(Call(self.home, at, *arguments))

    def prepare(self, at: datetime) -> None:
        """Jobs, their lines in the crontab, and those that call reconcile."""
        (self.home.root / "fates").mkdir()
        for job in JOBS:
            self._decide(job, FATES[WELL])
            assert self.call(at, "schedule", job.name, job.expression) == 0
        assert self.call(at, "watch", "install") == 0

    def go_through(self, occasion: list[Slot]) -> None:
        """All that cron, the user and bad luck do around these slots."""
        first, last = occasion[0].at, occasion[-1].at
        if occasion[0].name == "host off":
            steps = [(last + 20 * MINUTE, None)]  # at boot
        else:
            minutes = range(-3, (last - first) // MINUTE + 13, self.every)
            steps = [(first + minute * MINUTE, None) for minute in minutes]
            steps += [(slot.at, slot) for slot in occasion]
        for slot in occasion:
            if slot.made_up:  # by whom, and when exactly, is not for us to say
                self._decide(slot.job, slot.made_up)
        for at, slot in sorted(steps, key=lambda step: step[0]):
            if slot:
                self._meet(slot)
            else:
                self._expect(0, self.call(at, "exec", "RECONCILE"), f"reconcile at {at}")
                if any(slot.made_up for slot in occasion):
                    self._wait_for_what_it_started()

    def _meet(self, slot: Slot) -> None:
        at, name = slot.at, slot.job.name
        if slot.name == "not called":
            return
        self._decide(slot.job, slot.fate)
        if slot.name in ("killed", "supervisor killed"):
            self._kill(slot)
            return
        codes = [EXIT_CODES.get(slot.fate.tries[-1][0], 1)]
        if slot.name == "called twice":
            calls = [Call(self.home, at, "exec", name) for _ in range(2)]
            self._expect([0, 75], sorted(end_of(call) for call in calls), slot)
        elif slot.name == "paused":
            self.call(at - MINUTE, "pause", name)
            self._expect(codes, [self.call(at, "exec", name)], slot)
            self.call(at + MINUTE, "resume", name)
        elif slot.name == "database away":
            with away(self.home):
                self._expect(codes, [self.call(at, "exec", name)], slot)
        else:
            self._expect(codes, [self.call(at, "exec", name)], slot)

    def _decide(self, job: Job, fate: Fate) -> None:
        """What the job's command does from now on."""
        (self.home.root / "fates" / job.name).write_text(fate.script)
        text = shell(FATE).replace('"]\n', f'", "{job.name}"]\n') + KEYS
        text += 'catch_up = "latest"\n' if job.catches_up else ""
        text += 'timeout = "1s"\n' if fate is FATES["too long"] else ""
        (self.home.jobs_dir / f"{job.name}.toml").write_text(text)

    def _kill(self, slot: Slot) -> None:
        """Kill the supervisor; the command too, or let it end well unseen."""
        call = Call(self.home, slot.at, "exec", slot.job.name)
        directory = self.home.runs_dir / slot.job.name / f"{slot.job.name}-{slot.at:%Y%m%dT%H%MZ}-1"
        log = directory / "log"
        wait_for(lambda: log.exists() and "ready" in log.read_text())
        command = int((directory / "pid").read_text())
        call.kill()
        end_of(call)
        if slot.name == "killed":
            kill(command, signal.SIGKILL)
        else:
            (directory / "go").touch()
        wait_for(lambda: not lives(command))

    def _wait_for_what_it_started(self) -> None:
        """A run that makes up for a slot is nobody's child."""
        mark = [str(self.home.root), "--slot"]

        def at_work() -> bool:
            words = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
            return any(all(word in line for word in mark) for line in words)

        wait_for(lambda: not at_work(), 60)

    def _expect(self, expected: object, found: object, what: object) -> None:
        if expected != found:
            self.wrong.append(f"{what}: exit code {found}, not {expected}")


@pytest.mark.parametrize("season", CHANGES)
def test_what_is_recorded_of_a_month_agrees_with_another_count(home, request, season):
    nights, change = request.config.getoption("--nights"), CHANGES[season]
    first = change - timedelta(days=min(nights, change.day) - 1)
    month, occasions = Month(home, 5 if nights > 7 else 14), plan(first, nights, SEED)
    slots = [slot for occasion in occasions for slot in occasion]
    end = datetime.combine(first + timedelta(days=nights), time_of_day.min, ZONE).astimezone(UTC)
    code_revision()  # kept, and not asked for by each copy
    month.prepare(slots[0].at - 60 * MINUTE)
    table = Path(home.crontab).read_bytes()

    for occasion in occasions:
        month.go_through(occasion)

    assert month.wrong == []

    def ask(*arguments: str) -> list[dict]:
        answer = f"answer-{'-'.join(arguments)}"
        assert end_of(Call(home, end, *arguments, "--json", said=answer)) == 0
        return json.loads((home.root / answer).read_text())

    status = {row["job"]: row for row in ask("status")}
    for job in JOBS:
        expected = [run for slot in slots if slot.job is job for run in slot.record]
        keys = ("slot", "attempt", "trigger", "state", "failure_class")
        found = [tuple(run[key] for key in keys) for run in ask("runs", job.name, "-n", "10000")]
        assert sorted(found, key=lambda run: run[:2]) == expected
        shown = status[job.name]
        last_slot, *_, last_state, _ = expected[-1] if expected else (None, None, None)
        assert (shown["last_slot"], shown["state"]) == (last_slot, last_state)
        coming = slots_of(job, first + timedelta(days=nights), 8)[0]
        assert (shown["next"], shown["late_seconds"]) == (coming.isoformat(), None)

    counted = Counter((slot.job.name, run[3]) for slot in slots for run in slot.record)
    found = rows(home, "SELECT job, state, count(*) n FROM runs GROUP BY 1, 2")
    assert {(row["job"], row["state"]): row["n"] for row in found} == counted
    starts = Counter((home.root / "starts").read_text().split())
    assert set(starts.values()) == {1}
    assert starts.total() == sum(slot.starts for slot in slots)
    assert list(home.spool_dir.iterdir()) == []
    assert Path(home.crontab).read_bytes() == table
    tell(slots)


def tell(slots: list[Slot]) -> None:
    """The counts, for who looks on (`-s`)."""
    runs = [run for slot in slots for run in slot.record]
    states = Counter(run[3] for run in runs)
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    retries = sum(run[2] == "retry" for run in runs)
    made_up = sum(run[2] == "catch-up" for run in runs)
    print(f"\n{len(slots)} slots, {len(runs)} runs: {told}; {retries} retries, {made_up} caught up")
