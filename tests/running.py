"""Runs for tests: job files with a shell command, supervisors as processes, what was recorded."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Row, select

from maejobs.errors import MaejobsError
from maejobs.home import Home
from maejobs.rundb.database import open_database, reading
from maejobs.rundb.directory import RECORD_NAME, read_record
from maejobs.rundb.schema import runs
from maejobs.supervise.execute import execute

SLOT = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)

PATIENT = """
import sys
from datetime import datetime
from maejobs.home import open_home
from maejobs.supervise import recorder
from maejobs.supervise.execute import execute
_, job, slot, patience = sys.argv
recorder.SAVE_PATIENCE_SECONDS = float(patience)
sys.exit(execute(open_home(None), job, "cron", datetime.fromisoformat(slot)).exit_code)
"""

READY = "echo ready; "
STUBBORN = "trap '' TERM; " + READY + "while :; do sleep 0.05; done"
ORDERLY = "trap 'echo stopping; exit 0' TERM; " + READY + "while :; do sleep 0.05; done"


def shell(script: str) -> str:
    """The line of a job file that runs a shell script; its braces are the shell's."""
    command = ["sh", "-c", script.replace("{", "{{").replace("}", "}}")]
    return f"command = {json.dumps(command)}\n"


def python(script: str) -> str:
    """The line of a job file that runs a Python script."""
    command = ["{python}", "-c", script.replace("{", "{{").replace("}", "}}")]
    return f"command = {json.dumps(command)}\n"


class Supervisor:
    """A process that runs the job for the slot, its environment as bare as cron's.

    A copy of this one, for speed; so not while this one has the database open.
    """

    def __init__(self, home: Home, job: str, slot: datetime) -> None:
        self._code: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        try:
            os.environ.clear()
            os.environ.update(HOME=str(home.root), PATH="/usr/bin:/bin")
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            os._exit(execute(home, job, "cron", slot).exit_code)
        except MaejobsError as error:
            os._exit(error.exit_code)
        finally:
            os._exit(99)

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """The exit code, or minus the signal's number; None as long as it lives."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code


def supervisor(home: Home, job: str, slot: datetime = SLOT) -> Supervisor:
    return Supervisor(home, job, slot)


def patient_supervisor(
    home: Home, job: str, patience: float, within: Sequence[str] = ()
) -> "subprocess.Popen[bytes]":
    """A fresh process, called by `within`, with so many seconds of patience for a database."""
    return subprocess.Popen(
        [*within, sys.executable, "-c", PATIENT, job, SLOT.isoformat(), str(patience)],
        env={"HOME": str(home.root), "PATH": "/usr/bin:/bin", "MAEJOBS_HOME": str(home.root)},
        cwd=home.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def end_of(process: "Supervisor | subprocess.Popen[bytes]", seconds: float = 30) -> int:
    """The exit code of a supervisor that is about to end."""
    wait_for(lambda: process.poll() is not None, seconds)
    code = process.poll()
    assert code is not None
    return code


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """What `condition` gives once it gives something; fails after so many seconds."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)
    return found


def runs_of(home: Home, job: str | None = None) -> list[Row[Any]]:
    """The rows of the job's runs, or of all, oldest first."""
    query = select(runs).order_by(runs.c.queued, runs.c.attempt)
    with open_database(home) as engine, reading(engine) as connection:
        return list(connection.execute(query.where(runs.c.job == job) if job else query))


def only_run(home: Home, job: str) -> Row[Any]:
    (run,) = runs_of(home, job)
    return run


def directories(home: Home, job: str) -> list[Path]:
    """The directories of the job's runs."""
    return sorted((home.runs_dir / job).glob("*"))


def log_of(home: Home, job: str) -> str:
    """The job's newest log; empty before there is one."""
    logs = sorted((home.runs_dir / job).glob("*/log"), key=lambda path: path.stat().st_mtime)
    return logs[-1].read_text() if logs else ""


def wait_until_ready(home: Home, job: str) -> int:
    """Wait for a command that says `ready`; its pid, from the run's own record."""
    wait_for(lambda: "ready" in log_of(home, job))

    def recorded() -> int | None:
        records = [
            read_record(path.parent) for path in home.runs_dir.glob(f"{job}/*/{RECORD_NAME}")
        ]
        pids = [run.pid for run in records if run and run.state == "running"]
        return pids[-1] if pids else None

    return int(wait_for(recorded))


def lives(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(pid: int, number: int) -> None:
    if lives(pid):
        os.kill(pid, number)
