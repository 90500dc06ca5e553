"""Who may run a slot: the run's directory is made exclusively, so one slot has one run, always.

The claim needs no database, so that two supervisors cannot both win while it is away.
"""

import time
from datetime import datetime
from pathlib import Path

from maejobs.errors import MaejobsError, NotNow
from maejobs.files import make_private_directory
from maejobs.home import Home
from maejobs.launch.process import boot_id, host_name, is_alive
from maejobs.rundb.directory import SETTLING_SECONDS, read_record, was_started
from maejobs.rundb.events import EVENTS_NAME, ended_well
from maejobs.rundb.run import SUCCEEDED, UNFINISHED, Run, run_name


def run_directory(home: Home, job: str, run_id: str) -> Path:
    return home.runs_dir / job / run_id


def claim_slot(
    home: Home, job: str, slot: datetime, only_if_never_run: bool = False
) -> tuple[str, int]:
    """The name and attempt of a new run of `slot`, its directory made.

    A slot whose runs all failed may be tried again, unless `only_if_never_run`. Raises NotNow for
    one that has succeeded or is being run, MaejobsError where no directory can be made.
    """
    attempt = 1
    while True:
        name = run_name(job, slot, attempt)
        directory = run_directory(home, job, name)
        if _make(directory):
            return name, attempt
        reason = _why_taken(directory)
        begun = read_record(directory) or was_started(directory)  # a full disk takes no record
        if only_if_never_run and reason is None and begun:
            reason = "has been run"
        if reason:
            raise NotNow(
                "slot_taken",
                f"{job}: slot {slot:%Y-%m-%d %H:%M} UTC {reason} ({name}); "
                f"`maejobs run {job}` starts one by hand",
            )
        attempt += 1


def claim_by_hand(home: Home, job: str, now: datetime) -> str:
    """The name of a new run without a slot, its directory made."""
    number = 0
    while True:
        suffix = f"{number}" if number else ""
        name = f"{job}-{now:%Y%m%dT%H%M%SZ}-m{suffix}"
        if _make(run_directory(home, job, name)):
            return name
        number += 1


def has_process(run: Run) -> bool:
    """Whether the run is unfinished and its supervisor or command lives on this boot."""
    if run.state not in UNFINISHED or run.boot_id != boot_id():
        return False
    return is_alive(run.supervisor_pid, run.supervisor_started) or is_alive(
        run.pid, run.pid_started
    )


def _make(directory: Path) -> bool:
    try:
        make_private_directory(directory.parent)
        directory.mkdir(mode=0o700)
    except FileExistsError:
        if directory.is_dir():
            return False
        raise MaejobsError(f"{directory} is in the way of a run's directory") from None
    except OSError as error:
        raise MaejobsError(
            f"the run's directory {directory} cannot be made: {error.strerror}"
        ) from error
    return True


def _why_taken(directory: Path) -> str | None:
    run = read_record(directory)
    if run is None:
        try:
            age = time.time() - directory.stat().st_mtime
        except FileNotFoundError:
            return None
        if abs(age) < SETTLING_SECONDS:  # one from the future was made before the clock was set
            return "is just being started"
        return "has succeeded" if ended_well(directory / EVENTS_NAME) else None
    if run.state == SUCCEEDED:
        return "has succeeded"
    if has_process(run):
        return "is being run"
    if run.state in UNFINISHED and run.host != host_name():
        return f"is being run on {run.host}"  # whose processes cannot be seen from here
    if run.state in UNFINISHED and ended_well(directory / EVENTS_NAME):
        return "has succeeded"
    return None
