"""What must hold before a run's command starts. Each gate lets through or raises NotNow."""

import json
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from maejobs import clock
from maejobs.cron.zone import zone_of_slots
from maejobs.errors import NotNow
from maejobs.home import Home
from maejobs.jobs.deadline import deadline_of
from maejobs.jobs.model import GPU_LOCK, Job
from maejobs.jobs.placeholders import expand
from maejobs.launch.gpus import Gpu
from maejobs.rundb.directory import read_record
from maejobs.rundb.run import Run
from maejobs.supervise.cancel import is_stopping, stop_run
from maejobs.supervise.child import Signals
from maejobs.supervise.claim import run_directory
from maejobs.supervise.disk_gate import check_disk
from maejobs.supervise.gpu_gate import take_gpus
from maejobs.supervise.host_gate import wait_for_host
from maejobs.supervise.locks import Lock, acquire, holder_of, named_lock_file


class Passed(NamedTuple):
    """What the gates have given a run: its locks, and its GPUs, if it wants any."""

    locks: list[Lock]
    gpus: list[Gpu] | None
    ends: float = math.inf  # its deadline on the steady clock: the host's may be set meanwhile


def closes_at(home: Home, job: Job, run: Run) -> datetime | None:
    """Until when the run may start, and be tried again; None: for ever.

    A `timeout` counts from each start, and so limits neither.
    """
    base = run.slot or run.queued
    return deadline_of(base, clock.now(), job.until, None, zone_of_slots(home))


def pass_gates(
    home: Home, job: Job, run: Run, values: dict[str, str], signals: Signals, stack: ExitStack
) -> Passed:
    """What the run has, handed to `stack`, and its deadline. Raises NotNow; OSError: no answer."""
    run.deadline = closes_at(home, job, run)
    _look(home, job, run, values)
    told_to_stop = lambda: signals.count > 0  # noqa: E731
    held, locks = take_locks(home, job, run, _patience(run, job.wait), told_to_stop)
    stack.enter_context(held)
    if job.host:
        wait_for_host(job.host, _patience(run, job.host.wait), told_to_stop)
    gpus: list[Gpu] | None = None
    if job.gpu:
        patience = _patience(run, job.gpu.wait)
        held, on_gpus, gpus = take_gpus(home, job.gpu, run.id, patience, told_to_stop)
        stack.enter_context(held)
        locks += on_gpus
    _look(home, job, run, values)  # once more: it may have waited for hours
    now = clock.now()
    if job.timeout is not None:
        run.deadline = min(filter(None, (run.deadline, now + job.timeout)))
    if run.deadline is None:
        return Passed(locks, gpus)
    return Passed(locks, gpus, clock.steady() + (run.deadline - now).total_seconds())


def _look(home: Home, job: Job, run: Run, values: dict[str, str]) -> None:
    """Ask the gates that nobody waits at. Raises NotNow."""
    check_pause(home, job.name)
    check_window(run.deadline, clock.now())
    if job.disk:
        check_disk(home, job.name, Path(expand(job.disk.path, values)), job.disk)


def _patience(run: Run, wait: timedelta) -> float:
    """Seconds to wait for something: as long as the file says, but not past the deadline."""
    left = wait if run.deadline is None else min(wait, run.deadline - clock.now())
    return left.total_seconds()


def check_pause(home: Home, job: str) -> None:
    """Raises NotNow while the job is paused."""
    try:
        text = home.pause_file(job).read_text(errors="replace")
    except FileNotFoundError:
        return
    try:
        reason = json.loads(text).get("reason") or ""
    except (ValueError, AttributeError):
        reason = ""
    told = f": {reason}" if reason else ""
    raise NotNow("paused", f"{job} is paused{told}; `maejobs resume {job}` lets it run")


def check_window(deadline: datetime | None, now: datetime) -> None:
    """Raises NotNow where the deadline has passed before the start."""
    if deadline is not None and now >= deadline:
        raise NotNow("outside_window", f"its deadline was {deadline:%Y-%m-%d %H:%M} UTC")


def take_locks(
    home: Home, job: Job, run: Run, patience: float, give_up: Callable[[], bool]
) -> tuple[ExitStack, list[Lock]]:
    """The job's own lock (one run at a time) and its named locks, all or none.

    `overlap` decides what a second run of the job does: skip it, wait up to `patience` seconds
    for all its locks together, or stop who is before it, at work or in line, and wait as long for
    the end; not where that one was called later. Named locks are waited for by `overlap = "wait"`
    only. They are taken in one order, those of GPUs last, as by who asks for any GPU: so two jobs
    never wait for each other. Raises NotNow.
    """
    stack, locks = ExitStack(), []
    latest = time.monotonic() + patience
    named_latest = latest if job.overlap == "wait" else 0.0
    told: set[str] = set()

    def yields_to(name: str) -> bool:
        if job.overlap != "replace" or name in told:
            return False
        first = read_record(run_directory(home, job.name, name))
        if first is None:
            return False
        if _called_later(first, run):
            return True
        told.add(name)
        if not is_stopping(first):
            stop_run(first, f"{run.id}, which replaces it")
        return False

    try:
        own = home.locks_dir / f"job-{job.name}.lock"
        timeout = 0.0 if job.overlap == "skip" else patience
        lock = acquire(own, run.id, timeout, give_up, yields_to)
        if lock is None:
            raise NotNow("overlap", f"{job.name} still runs: {holder_of(own)}")
        locks.append(stack.enter_context(lock))
        for name in sorted(set(job.locks), key=_gpus_last):
            path = named_lock_file(home, name)
            lock = acquire(path, run.id, named_latest - time.monotonic(), give_up)
            if lock is None:
                raise NotNow("locked", f"{holder_of(path)} holds the lock {name}")
            locks.append(stack.enter_context(lock))
    except BaseException:
        stack.close()
        raise
    return stack, locks


def _called_later(first: Run, run: Run) -> bool:
    """Whether `first` is the newer call of the job: `run` may be another try of an older one."""
    if not (first.supervisor_started and run.supervisor_started):
        return False
    return first.boot_id == run.boot_id and first.supervisor_started > run.supervisor_started


def _gpus_last(name: str) -> tuple[bool, str]:
    return GPU_LOCK.fullmatch(name) is not None, name
