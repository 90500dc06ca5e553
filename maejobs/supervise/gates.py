"""What must hold before a run's command starts. Each gate lets through or raises NotNow."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime

from maejobs.errors import NotNow
from maejobs.home import Home
from maejobs.jobs.model import GPU_LOCK, Job
from maejobs.rundb.directory import read_record
from maejobs.supervise.cancel import is_stopping, stop_run
from maejobs.supervise.claim import run_directory
from maejobs.supervise.locks import Lock, acquire, holder_of, named_lock_file


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
    home: Home, job: Job, run_id: str, patience: float, give_up: Callable[[], bool]
) -> tuple[ExitStack, list[Lock]]:
    """The job's own lock (one run at a time) and its named locks, all or none.

    `overlap` decides what a second run of the job does: skip it, wait up to `patience` seconds
    for all its locks together, or stop the first. Named locks are waited for by
    `overlap = "wait"` only. They are taken in one order, those of GPUs last, as by who asks for
    any GPU: so two jobs never wait for each other. Raises NotNow.
    """
    stack, locks = ExitStack(), []
    latest = time.monotonic() + (patience if job.overlap == "wait" else 0.0)
    try:
        own = home.locks_dir / f"job-{job.name}.lock"
        lock = acquire(own, run_id, latest - time.monotonic(), give_up)
        if lock is None and job.overlap == "replace" and not give_up():
            first = read_record(run_directory(home, job.name, holder_of(own)))
            if first and not is_stopping(first):
                stop_run(first, f"{run_id}, which replaces it")
            lock = acquire(own, run_id, patience, give_up)
        if lock is None:
            raise NotNow("overlap", f"{job.name} still runs: {holder_of(own)}")
        locks.append(stack.enter_context(lock))
        for name in sorted(set(job.locks), key=_gpus_last):
            path = named_lock_file(home, name)
            lock = acquire(path, run_id, latest - time.monotonic(), give_up)
            if lock is None:
                raise NotNow("locked", f"{holder_of(path)} holds the lock {name}")
            locks.append(stack.enter_context(lock))
    except BaseException:
        stack.close()
        raise
    return stack, locks


def _gpus_last(name: str) -> tuple[bool, str]:
    return GPU_LOCK.fullmatch(name) is not None, name
