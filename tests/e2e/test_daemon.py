"""No cron at all: scheduled through the CLI, started by `maejobs daemon`, recorded by `exec`.

The home's clock is shifted to some seconds before the slot, as in a rehearsal; all else is real.
"""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from databases import configure

MAEJOBS = Path(sys.executable).parent / "maejobs"
CAUGHT_UP = datetime(2027, 3, 28, 1, 0, tzinfo=UTC)  # 03:00 in Berlin, where 02:30 does not come
TO_START = timedelta(seconds=5)  # on a busy machine
JOB = """
command = ["/bin/sh", "-c", "trap 'echo stopped; exit 0' TERM; echo started; sleep 60 & wait"]
"""

pytestmark = pytest.mark.e2e


@pytest.fixture
def daemon(home, write_job, maejobs):
    """`daemon(at)` starts it where the home's clock shows some seconds before `at`."""
    write_job("night", JOB)
    started: list[subprocess.Popen[bytes]] = []

    def set_clock(to: datetime) -> None:
        shift = to.timestamp() - time.time()
        configure(home, f'crontab = "crontab"\nclock_shift = {shift:.3f}\n')

    def start(at: datetime) -> subprocess.Popen[bytes]:
        set_clock(at - timedelta(minutes=1))
        assert maejobs("schedule", "night", "30 2 * * *").returncode == 0
        set_clock(at - TO_START)
        with (home.root / "log").open("wb") as log:
            process = subprocess.Popen(
                [MAEJOBS, "daemon", "--home", home.root],
                stdout=log,
                stderr=log,
                env={**os.environ, "TZ": "Europe/Berlin"},
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(10)


def wait_for(true, what, seconds=30):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.1)
    return found


def test_a_slot_that_the_clock_skips_is_run_recorded_and_stopped_with_the_daemon(
    daemon, maejobs, home
):
    process = daemon(CAUGHT_UP)
    runs = lambda: json.loads(maejobs("runs", "--json").stdout)  # noqa: E731
    (run,) = wait_for(lambda: [r for r in runs() if r["state"] == "running"], "a run")
    assert (run["job"], run["trigger"]) == ("night", "cron")
    assert datetime.fromisoformat(run["slot"]) == CAUGHT_UP
    wait_for(lambda: "started" in maejobs("logs", "night").stdout, "the command's own word")
    (heartbeat,) = home.root.glob("daemon.*.heartbeat")
    assert json.loads(heartbeat.read_text())["entries"] == 1
    (coming,) = json.loads(maejobs("next", "-n", "1", "--json", TZ="Asia/Tokyo").stdout)
    assert datetime.fromisoformat(coming["at"]) == datetime(2027, 3, 29, 0, 30, tzinfo=UTC)
    process.send_signal(signal.SIGTERM)
    assert process.wait(40) == 0
    (run,) = runs()
    assert run["state"] in ("cancelled", "succeeded")
    assert "stopped" in maejobs("logs", "night").stdout


def test_the_minutes_that_the_clock_skips_are_made_up_for_ten_seconds_apart(daemon, home, tmp_path):
    seen = tmp_path / "seen"
    (home.root / "crontab").write_text(f"0,10,20 2 * * * date +\\%s >> {seen}\n")
    daemon(CAUGHT_UP)
    starts = wait_for(
        lambda: len(lines := seen.read_text().split()) == 3 and lines if seen.exists() else [],
        "three starts",
        60,
    )
    gaps = [int(later) - int(earlier) for earlier, later in pairwise(starts)]
    assert all(9 <= gap <= 14 for gap in gaps), gaps
