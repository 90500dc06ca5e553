"""One attempt of a run: gates, command, outcome, each of them recorded."""

import logging
import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import humanize

from maejobs import clock
from maejobs.errors import NotNow, UserError
from maejobs.files import FILE_MODE
from maejobs.home import Home
from maejobs.jobs.failures import BAD_JOB_FILE
from maejobs.jobs.model import Job
from maejobs.jobs.placeholders import expand
from maejobs.jobs.secrets import hide, secrets_of
from maejobs.launch.local import CouldNotStart, start
from maejobs.launch.process import start_time
from maejobs.launch.tree import Tree
from maejobs.notify.hooks import Herald
from maejobs.rundb import run as states
from maejobs.rundb.directory import LOG_NAME, stopped_by
from maejobs.rundb.events import (
    EVENTS_NAME,
    GOOD_ENDINGS,
    MOST_BYTES,
    PAUSED,
    Event,
    last_outcome,
)
from maejobs.rundb.run import Run
from maejobs.supervise.child import Ending, Signals, supervise
from maejobs.supervise.disk_gate import existing
from maejobs.supervise.environment import (
    build_environment,
    placeholder_values,
    variables_from_file,
)
from maejobs.supervise.evidence import Witness
from maejobs.supervise.failure import class_of_start, classify, explained
from maejobs.supervise.gates import Passed, pass_gates
from maejobs.supervise.log import TIMES_NAME, LogClock
from maejobs.supervise.log_limit import LogLimit
from maejobs.supervise.pace import pace_of, past_lengths
from maejobs.supervise.recorder import Recorder
from maejobs.supervise.redaction import Redaction
from maejobs.supervise.sampling import sampled
from maejobs.supervise.stall import Watchdog
from maejobs.supervise.verdict import judge, why_cancelled

_log = logging.getLogger(__name__)
Watcher = Callable[[Run, list[Event]], None]


def attempt_run(
    home: Home,
    job: Job,
    recorder: Recorder,
    signals: Signals,
    watch: Watcher | None,
    herald: Herald,
) -> None:
    """Start the run's command if the gates let it, and look after it to the verdict.

    `watch` sees the run and its new events about twice a second. Raises SlotTaken.
    """
    run = recorder.run
    recorder.open()
    herald.begun()
    values = placeholder_values(home, job, run.id, Path(run.directory))
    with ExitStack() as stack:
        passed, came = Passed([], None), clock.steady()
        try:
            passed = pass_gates(home, job, run, values, signals, stack)
        except NotNow as no:
            if not signals.count:
                finish(recorder, states.SKIPPED, no.reason, f"{no}{_waited(came)}")
                return
        except OSError as error:
            run.failure_class = class_of_start(error)
            finish(recorder, states.FAILED, f"could not look whether it may start: {error}")
            return
        if signals.count:
            why = why_cancelled(signals.first, stopped_by(Path(run.directory)))
            finish(recorder, states.CANCELLED, f"{why}, before it started")
            return
        witness = stack.enter_context(closing(Witness()))
        disk = _disk_of(job, run, values)
        command = [expand(word, values) for word in job.command]
        try:
            child = _start(home, job, run, values, command, passed, herald)
        except UserError as error:
            run.failure_class = BAD_JOB_FILE
            finish(recorder, states.FAILED, str(error))
            return
        except CouldNotStart as error:
            run.failure_class = class_of_start(error.__cause__, command)
            finish(recorder, states.FAILED, hide(str(error), herald.secrets))
            return
        signals.pass_on_to(child.pid)
        recorder.save_underway()
        herald.started()
        tree = Tree(child.pid, f"MAEJOBS_RUN_ID={run.id}")
        with sampled(run, tree, disk, [gpu.index for gpu in passed.gpus or ()]):
            ending = _look_after(child, tree, job, recorder, passed.ends, signals, watch, herald)
        _conclude(home, recorder, ending, witness)


def _waited(since: float) -> str:
    seconds = round(clock.steady() - since)
    return f" (it waited for {humanize.precisedelta(seconds)})" if seconds else ""


def _start(
    home: Home,
    job: Job,
    run: Run,
    values: dict[str, str],
    command: list[str],
    passed: Passed,
    herald: Herald,
) -> subprocess.Popen[bytes]:
    """`command`, started. Raises CouldNotStart; UserError: its `env_file` is not fit to read."""
    directory = Path(run.directory)
    from_file = variables_from_file(home, job, values)
    environment = build_environment(
        home, job, values, directory / EVENTS_NAME, run.deadline, os.environ, passed.gpus, from_file
    )
    herald.secrets = secrets = secrets_of(environment, from_file)
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
    tree: Tree,
    job: Job,
    recorder: Recorder,
    ends: float,
    signals: Signals,
    watch: Watcher | None,
    herald: Herald,
) -> Ending:
    run, directory = recorder.run, Path(recorder.run.directory)
    log_clock = LogClock(directory / LOG_NAME, directory / TIMES_NAME)
    log_limit = LogLimit(directory / LOG_NAME, job.log_limit)
    events_limit = LogLimit(directory / EVENTS_NAME, MOST_BYTES)
    redaction = Redaction(directory / LOG_NAME, herald.secrets)

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
        events_limit.tick()
        redaction.tick()
        recorder.tick()
        herald.tick()
        show()

    grace, stalled = job.grace.total_seconds(), _stalled(job, directory)
    try:
        return supervise(child, ends - clock.steady(), grace, signals, on_tick, stalled, tree)
    finally:
        log_clock.close()
        log_limit.tick()
        events_limit.tick()
        redaction.close()
        show()


def _conclude(home: Home, recorder: Recorder, ending: Ending, witness: Witness) -> None:
    run, directory = recorder.run, Path(recorder.run.directory)
    run.exit_code, run.signal = ending.exit_code, ending.signal
    run.cpu_seconds, run.peak_memory = ending.cpu_seconds, ending.peak_memory
    run.peak_tree_memory = max(run.peak_tree_memory or 0, run.peak_memory or 0) or None
    run.bytes_read, run.bytes_written = ending.bytes_read, ending.bytes_written
    outcome = last_outcome(directory / EVENTS_NAME)
    state, reason = judge(ending, outcome in GOOD_ENDINGS, stopped_by(directory))
    if state in (states.FAILED, states.TIMED_OUT):
        run.failure_class = classify(witness.evidence(ending, directory, outcome))
        reason = explained(reason, run.failure_class)
    # How long it took that stopped at its deadline says when it began, and no more.
    elif run.started and ending.stopped_for is None and outcome != PAUSED:
        seconds = (clock.now() - run.started).total_seconds()
        run.pace = pace_of(seconds, past_lengths(home, run.job))
    finish(recorder, state, reason)


def _disk_of(job: Job, run: Run, values: dict[str, str]) -> Path:
    """A place on the disk whose room matters to the job."""
    try:
        return existing(Path(expand(job.disk.path, values) if job.disk else run.directory))
    except OSError:
        return Path(run.directory)


def _stalled(job: Job, directory: Path) -> Callable[[], bool]:
    if job.stall_after is None:
        return lambda: False
    patience = job.stall_after.total_seconds()
    return Watchdog(directory / EVENTS_NAME, directory / LOG_NAME, patience).stalled


def finish(recorder: Recorder, state: str, reason: str | None, message: str | None = None) -> None:
    """Record how the run ended; `message` goes into its log."""
    run = recorder.run
    run.state, run.reason, run.finished = state, reason, clock.now()
    if message:
        _append(Path(run.directory) / LOG_NAME, f"maejobs: {message}\n")
    recorder.save()


def _append(log: Path, text: str) -> None:
    data = text.encode(errors="backslashreplace")  # words of a caller's may be any bytes
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, FILE_MODE)
        with os.fdopen(descriptor, "ab") as file:
            file.write(data)
    except OSError:
        return
