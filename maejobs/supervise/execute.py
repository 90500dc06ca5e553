"""One run from the call to the verdict: claim, record, gates, command, outcome, retry."""

import hashlib
import logging
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from maejobs import clock
from maejobs.cron.fires import scheduling_zone
from maejobs.errors import EXIT_FAILED, EXIT_NOT_NOW, NotNow, UserError
from maejobs.files import FILE_MODE
from maejobs.home import Home
from maejobs.jobs.deadline import deadline_of
from maejobs.jobs.failures import BAD_JOB_FILE
from maejobs.jobs.load import load_job
from maejobs.jobs.model import JOB_NAME, Job
from maejobs.jobs.placeholders import expand
from maejobs.jobs.secrets import hide, secrets_of
from maejobs.launch.local import CouldNotStart, start
from maejobs.launch.process import boot_id, host_name, start_time
from maejobs.launch.revision import code_revision
from maejobs.rundb import run as states
from maejobs.rundb.events import EVENTS_NAME, GOOD_ENDINGS, PAUSED, Event, last_outcome
from maejobs.rundb.record import SlotTaken
from maejobs.rundb.run import Run
from maejobs.supervise.child import Ending, Signals, caught_signals, supervise
from maejobs.supervise.claim import claim_by_hand, claim_slot, run_directory
from maejobs.supervise.environment import (
    build_environment,
    placeholder_values,
    variables_from_file,
)
from maejobs.supervise.evidence import Witness
from maejobs.supervise.failure import class_of_start, classify, explained
from maejobs.supervise.gates import check_disk, check_pause, check_window, take_locks
from maejobs.supervise.gpu_gate import take_gpus
from maejobs.supervise.locks import Lock
from maejobs.supervise.log import LOG_NAME, TIMES_NAME, LogClock
from maejobs.supervise.log_limit import LogLimit
from maejobs.supervise.pace import pace_of, past_lengths
from maejobs.supervise.recorder import Recorder
from maejobs.supervise.retry import next_try, wait
from maejobs.supervise.stall import Watchdog
from maejobs.supervise.verdict import judge

_log = logging.getLogger(__name__)
Watcher = Callable[[Run, list[Event]], None]


@dataclass(frozen=True)
class Verdict:
    """What a call of `execute` came to: the last attempt's record, and the exit code."""

    run: Run
    exit_code: int


class Passed(NamedTuple):
    """What the gates have given a run: its locks, and the numbers of its GPUs, if it wants any."""

    locks: list[Lock]
    gpus: list[int] | None


def execute(
    home: Home,
    job_name: str,
    trigger: str,
    slot: datetime | None = None,
    retry_of: str | None = None,
    watch: Watcher | None = None,
    attempt: int = 1,
) -> Verdict:
    """Run the job once for `slot` (None: by hand), with the retries its file allows.

    `attempt` is the first one's number for a run by hand; a slot's are counted by its runs.

    Every call leaves a record: also of a bad job file, of a gate that said no, of a command that
    could not be started. `watch` sees the run and its new events about twice a second.
    Raises NotNow where the slot is somebody else's, UserError for a job that does not exist or
    whose file is bad, MaejobsError where there is no place for the run's directory.
    """
    if not JOB_NAME.fullmatch(job_name):
        raise UserError(f"{job_name!r} is not a job name")  # nor is a path to be made of it
    with caught_signals() as signals:
        failures: list[str | None] = []
        while True:
            run = _claim(home, job_name, trigger, slot, retry_of, attempt)
            recorder = Recorder(home, run)
            try:
                job = load_job(home.jobs_dir, job_name)
            except UserError as error:
                run.failure_class = BAD_JOB_FILE
                _finish(recorder, states.FAILED, f"bad job file: {error}")
                raise
            try:
                _attempt(home, job, recorder, signals, watch)
            except SlotTaken as error:
                shutil.rmtree(run.directory, ignore_errors=True)  # there was no such run
                raise NotNow("slot_taken", str(error)) from error
            failures.append(run.failure_class)
            delay = next_try(job, failures, run.deadline, clock.now())
            if delay is None or not wait(delay, signals):
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


def _attempt(
    home: Home, job: Job, recorder: Recorder, signals: Signals, watch: Watcher | None
) -> None:
    run = recorder.run
    recorder.open()
    values = placeholder_values(home, job, run.id, Path(run.directory))
    with ExitStack() as stack:
        passed = Passed([], None)
        try:
            passed = _pass_gates(home, job, run, values, signals, stack)
        except NotNow as no:
            if not signals.count:
                _finish(recorder, states.SKIPPED, no.reason, str(no))
                return
        except OSError as error:
            run.failure_class = class_of_start(error)
            _finish(recorder, states.FAILED, f"could not look whether it may start: {error}")
            return
        if signals.count:
            _finish(recorder, states.CANCELLED, "stopped by a signal before it started")
            return
        witness = stack.enter_context(closing(Witness()))
        try:
            child = _start(home, job, run, values, passed)
        except UserError as error:
            run.failure_class = BAD_JOB_FILE
            _finish(recorder, states.FAILED, str(error))
            return
        except CouldNotStart as error:
            run.failure_class = class_of_start(error.__cause__, run.command)
            _finish(recorder, states.FAILED, str(error))
            return
        recorder.save_underway()
        ending = _look_after(child, job, recorder, signals, watch)
        _conclude(home, recorder, ending, witness)


def _pass_gates(
    home: Home, job: Job, run: Run, values: dict[str, str], signals: Signals, stack: ExitStack
) -> Passed:
    """What the run has, handed to `stack`, and its deadline. Raises NotNow; OSError: no answer."""
    base, zone = run.slot or run.queued, scheduling_zone()
    run.deadline = deadline_of(base, clock.now(), job.until, job.timeout, zone)
    check_pause(home, job.name)
    check_window(run.deadline, clock.now())
    if job.disk:
        check_disk(Path(expand(job.disk.path, values)), job.disk.free)
    told_to_stop = lambda: signals.count > 0  # noqa: E731
    held, locks = take_locks(home, job, run.id, _patience(run, job.wait), told_to_stop)
    stack.enter_context(held)
    gpus: list[int] | None = None
    if job.gpu:
        patience = _patience(run, job.gpu.wait)
        held, on_gpus, gpus = take_gpus(home, job.gpu, run.id, patience, told_to_stop)
        stack.enter_context(held)
        locks += on_gpus
    # A run that waited for its turn has as long as one that did not, but no longer window.
    run.deadline = deadline_of(base, clock.now(), job.until, job.timeout, zone)
    check_window(run.deadline, clock.now())
    return Passed(locks, gpus)


def _patience(run: Run, wait: timedelta) -> float:
    """Seconds to wait for something: as long as the file says, but not past the deadline."""
    left = wait if run.deadline is None else min(wait, run.deadline - clock.now())
    return left.total_seconds()


def _start(
    home: Home, job: Job, run: Run, values: dict[str, str], passed: Passed
) -> subprocess.Popen[bytes]:
    """The started command. Raises CouldNotStart; UserError: its `env_file` is not fit to read."""
    directory = Path(run.directory)
    command = [expand(word, values) for word in job.command]
    from_file = variables_from_file(home, job, values)
    environment = build_environment(
        home, job, values, directory / EVENTS_NAME, run.deadline, os.environ, passed.gpus, from_file
    )
    secrets = secrets_of(environment, from_file)
    run.command = [hide(word, secrets) for word in command]
    child = start(
        command,
        environment,
        Path(environment["HOME"]),
        directory / LOG_NAME,
        job.nice,
        [lock.descriptor for lock in passed.locks],
    )
    run.state, run.started = states.RUNNING, clock.now()
    run.pid, run.pid_started = child.pid, start_time(child.pid)
    return child


def _look_after(
    child: subprocess.Popen[bytes],
    job: Job,
    recorder: Recorder,
    signals: Signals,
    watch: Watcher | None,
) -> Ending:
    run, directory = recorder.run, Path(recorder.run.directory)
    log_clock = LogClock(directory / LOG_NAME, directory / TIMES_NAME)
    log_limit = LogLimit(directory / LOG_NAME, job.log_limit)

    def show() -> None:
        nonlocal watch
        if watch:
            try:
                watch(run, recorder.new_events())
            except Exception as error:  # its terminal is gone, say; the run is not
                _log.debug("no longer shown: %s", error)
                watch = None

    def on_tick() -> None:
        log_clock.tick()
        log_limit.tick()
        recorder.tick()
        show()

    left = None if run.deadline is None else (run.deadline - clock.now()).total_seconds()
    try:
        return supervise(
            child,
            left,
            job.grace.total_seconds(),
            signals,
            on_tick,
            _stalled(job, directory),
            mark=f"MAEJOBS_RUN_ID={run.id}",
        )
    finally:
        log_clock.close()
        log_limit.tick()
        show()


def _conclude(home: Home, recorder: Recorder, ending: Ending, witness: Witness) -> None:
    run, directory = recorder.run, Path(recorder.run.directory)
    run.exit_code, run.signal = ending.exit_code, ending.signal
    run.cpu_seconds, run.peak_memory = ending.cpu_seconds, ending.peak_memory
    outcome = last_outcome(directory / EVENTS_NAME)
    state, reason = judge(ending, outcome in GOOD_ENDINGS)
    if state in (states.FAILED, states.TIMED_OUT):
        run.failure_class = classify(witness.evidence(ending, directory, outcome))
        reason = explained(reason, run.failure_class)
    # How long it took that stopped at its deadline says when it began, and no more.
    elif run.started and ending.stopped_for is None and outcome != PAUSED:
        seconds = (clock.now() - run.started).total_seconds()
        run.pace = pace_of(seconds, past_lengths(home, run.job))
    _finish(recorder, state, reason)


def _stalled(job: Job, directory: Path) -> Callable[[], bool]:
    if job.stall_after is None:
        return lambda: False
    patience = job.stall_after.total_seconds()
    return Watchdog(directory / EVENTS_NAME, directory / LOG_NAME, patience).stalled


def _finish(recorder: Recorder, state: str, reason: str | None, message: str | None = None) -> None:
    run = recorder.run
    run.state, run.reason, run.finished = state, reason, clock.now()
    if message:
        _append(Path(run.directory) / LOG_NAME, f"maejobs: {message}\n")
    recorder.save()


def _append(log: Path, text: str) -> None:
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
        with os.fdopen(descriptor, "a") as file:
            file.write(text)
    except OSError:
        return


def _exit_code(run: Run) -> int:
    if run.state == states.SUCCEEDED:
        return 0
    return EXIT_NOT_NOW if run.state == states.SKIPPED else EXIT_FAILED


def _hash_of(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError:
        return None
