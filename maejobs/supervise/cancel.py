"""Tells a run to stop, whoever still looks after it."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from maejobs import clock
from maejobs.errors import UserError, quoted
from maejobs.home import Home
from maejobs.launch.process import boot_id, is_alive, signal_group
from maejobs.privilege import acting_as, owner_of
from maejobs.rundb.directory import RECORD_NAME, keep_stopped_by, read_record, stopped_by
from maejobs.rundb.run import CLOCKS_DIFFER, FAILED, NAME, RUNNING, SKIPPED, Run
from maejobs.supervise.claim import has_process


def stop_run(run: Run, who: str) -> bool:
    """TERM to the run's supervisor, which hands it on; to the command if that is all there is.

    Word of `who` is left in the run's directory, if there is room: the supervisor, or where that
    is gone `reconcile`, gives it as the reason. Returns False where neither lives on this boot,
    whatever name the host had: there is nothing to stop.
    """
    if run.boot_id != boot_id():
        return False
    if run.supervisor_pid and is_alive(run.supervisor_pid, run.supervisor_started):
        _leave_word(run, who)
        try:
            os.kill(run.supervisor_pid, signal.SIGTERM)
            os.kill(run.supervisor_pid, signal.SIGCONT)  # Ctrl-Z may have held it
        except ProcessLookupError:
            return False
        return True
    if run.pid and is_alive(run.pid, run.pid_started):
        _leave_word(run, who)
        signal_group(run.pid, signal.SIGTERM)
        return True
    return False


def is_stopping(run: Run) -> bool:
    """Whether the run's supervisor, which lives, was told to stop: a second word would be KILL."""
    told = stopped_by(Path(run.directory)) is not None
    return told and is_alive(run.supervisor_pid, run.supervisor_started)


def _leave_word(run: Run, who: str) -> None:
    directory = Path(run.directory)
    with suppress(OSError), acting_as(owner_of(directory)):
        keep_stopped_by(directory, who)


def awaits_retry(run: Run) -> bool:
    """Whether the run failed, or was skipped, and its supervisor lives, to try again in a while."""
    return (
        run.state in (FAILED, SKIPPED)
        and run.boot_id == boot_id()
        and is_alive(run.supervisor_pid, run.supervisor_started)
    )


def find_record(home: Home, name: str) -> Run:
    """The record of the run `name`, or of the job `name`: the run under way, else the newest.

    One whose command has started goes before those that wait for its end.

    The directory is asked, not the database, so that a run can be stopped while that is away.
    Raises UserError where there is neither.
    """
    paths: list[Path] = []
    if NAME.fullmatch(name):
        paths += home.runs_dir.glob(f"*/{name}/{RECORD_NAME}")
        paths += (home.runs_dir / name).glob(f"*/{RECORD_NAME}")
    records = [read_record(path.parent) for path in paths]
    latest = clock.now() + CLOCKS_DIFFER
    found = max(
        filter(None, records),
        key=lambda run: (_underway(run), run.queued <= latest, run.queued),
        default=None,
    )
    if found is None:
        raise UserError(f"no run and no job with runs is called {quoted(name)}; see `maejobs runs`")
    return found


def _underway(run: Run) -> int:
    """How far under way the run is: its command has started, it waits, it is over."""
    if not has_process(run):
        return 0
    return 2 if run.state == RUNNING else 1
