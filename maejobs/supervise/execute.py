"""One run from the call to the verdict: claimed, attempted, tried again."""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from maejobs import clock
from maejobs.errors import EXIT_FAILED, EXIT_NOT_NOW, NotNow, UserError
from maejobs.home import Home
from maejobs.jobs.failures import BAD_JOB_FILE
from maejobs.jobs.load import load_job
from maejobs.jobs.model import JOB_NAME
from maejobs.launch.process import boot_id, host_name, start_time
from maejobs.launch.revision import code_revision
from maejobs.notify.hooks import Herald, ended_without_job, taken_over
from maejobs.rundb import run as states
from maejobs.rundb.directory import LOG_NAME
from maejobs.rundb.record import SlotTaken
from maejobs.rundb.run import Run
from maejobs.supervise.attempt import Watcher, attempt_run, finish
from maejobs.supervise.child import caught_signals
from maejobs.supervise.claim import claim_by_hand, claim_slot, run_directory
from maejobs.supervise.gates import closes_at
from maejobs.supervise.recorder import Recorder
from maejobs.supervise.retry import next_try, wait


@dataclass(frozen=True)
class Verdict:
    """What a call of `execute` came to: the last attempt's record, and the exit code."""

    run: Run
    exit_code: int


def execute(
    home: Home,
    job_name: str,
    trigger: str,
    slot: datetime | None = None,
    retry_of: str | None = None,
    watch: Watcher | None = None,
    attempt: int = 1,
    on_wait: Callable[[Run, timedelta], None] = lambda run, delay: None,
) -> Verdict:
    """Run the job once for `slot` (None: by hand), with the retries its file allows.

    `attempt` is the first one's number for a run by hand; a slot's are counted by its runs.

    Every call leaves a record: also of a bad job file, of a gate that said no, of a command that
    could not be started. `watch` sees the run and its new events about twice a second, `on_wait`
    the run that failed and how long it is until the next try; both must return at once.
    Raises NotNow where the slot is somebody else's, UserError for a job that does not exist or
    whose file is bad, MaejobsError where there is no place for the run's directory.
    """
    if not JOB_NAME.fullmatch(job_name):
        raise UserError(f"{job_name!r} is not a job name")  # nor is a path to be made of it
    with caught_signals() as signals:
        failures: list[str | None] = []
        while True:
            follows = retry_of if failures else None
            try:
                run = _claim(home, job_name, trigger, slot, retry_of, attempt)
            except NotNow:
                taken_over(home, follows)
                raise
            recorder = Recorder(home, run)
            try:
                job = load_job(home.jobs_dir, job_name)
            except UserError as error:
                run.failure_class = BAD_JOB_FILE
                finish(recorder, states.FAILED, f"bad job file: {error}")
                ended_without_job(home, run)
                raise
            herald = Herald(home, job, run, Path(run.directory) / LOG_NAME, follows)
            try:
                attempt_run(home, job, recorder, signals, watch, herald)
            except SlotTaken as error:
                shutil.rmtree(run.directory, ignore_errors=True)  # there was no such run
                taken_over(home, follows)
                raise NotNow("slot_taken", str(error)) from error
            failures.append(run.reason if run.state == states.SKIPPED else run.failure_class)
            delay = next_try(job, failures, closes_at(home, job, run), clock.now())
            herald.ended(tried_again=delay is not None)
            if delay is None:
                return Verdict(run, _exit_code(run))
            on_wait(run, delay)
            if not wait(delay, signals):
                herald.ended(tried_again=False)
                return Verdict(run, _exit_code(run))
            trigger, retry_of, attempt = "retry", run.id, run.attempt + 1


def _claim(
    home: Home,
    job: str,
    trigger: str,
    slot: datetime | None,
    retry_of: str | None,
    attempt: int,
) -> Run:
    now = clock.now()
    if slot is None:
        name = claim_by_hand(home, job, now)
    else:
        name, attempt = claim_slot(home, job, slot, trigger == states.CATCH_UP)
    return Run(
        id=name,
        job=job,
        trigger=trigger,
        attempt=attempt,
        slot=slot,
        retry_of=retry_of,
        queued=now,
        host=host_name(),
        boot_id=boot_id(),
        directory=str(run_directory(home, job, name)),
        supervisor_pid=os.getpid(),
        supervisor_started=start_time(os.getpid()),
        revision=code_revision(),
        config_hash=_hash_of(home.jobs_dir / f"{job}.toml"),
    )


def _exit_code(run: Run) -> int:
    if run.state == states.SUCCEEDED:
        return 0
    return EXIT_NOT_NOW if run.state == states.SKIPPED else EXIT_FAILED


def _hash_of(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError:
        return None
