"""Runs of this host from when it had another name: each container made anew has a new one."""

import fcntl
import os
from pathlib import Path

from maejobs.home import Home
from maejobs.rundb.directory import read_record
from maejobs.rundb.network_disk import why_refused
from maejobs.rundb.run import Run


def was_here(home: Home, run: Run) -> bool:
    """Whether a run of another host's name was one of this host, and has no process any more.

    1. Its record lies in this home, and that on a disk to which no other host writes.
    2. Nobody holds the job's lock: not even in a container beside this one, whose processes are
       not to be seen from here.
    """
    record = read_record(home.runs_dir / run.job / run.id)
    if record is None or (record.id, record.host) != (run.id, run.host):
        return False
    if why_refused(home.runs_dir):
        return False
    return not _is_held(home.locks_dir / f"job-{run.job}.lock")


def _is_held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError:  # who cannot look takes nobody for gone
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
