"""Starts a run's command on this host: own session and group, output straight to a file."""

import logging
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from maejobs.errors import MaejobsError
from maejobs.files import FILE_MODE
from maejobs.launch.tree import adopt_orphans

_log = logging.getLogger(__name__)


class CouldNotStart(MaejobsError):
    """The command could not be started; the message says why."""


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    directory: Path,
    log: Path,
    nice: int = 0,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """The started command, leader of its own process group, reading from /dev/null.

    It writes to `log` itself, not through a pipe: should the supervisor die, the command goes on
    writing. `keep_open` are descriptors it inherits, so that a lock outlives the supervisor. Its
    umask keeps what it writes private, unless it sets another. From now on this process is the
    parent of what the command leaves behind (see `Tree`).
    Raises CouldNotStart; a log that cannot be opened costs the output, not the run.
    """
    try:
        output = _open_log(log)
    except OSError as error:
        raise CouldNotStart(f"could not start {command[0]}: {error}") from error
    adopt_orphans()
    try:
        child = subprocess.Popen(
            list(command),
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
            pass_fds=keep_open,
        )
    except OSError as error:
        why = error.strerror or str(error)
        if error.filename == directory:
            why = f"working directory {directory}: {why}"
        raise CouldNotStart(f"could not start {command[0]}: {why}") from error
    finally:
        os.close(output)
    if nice:
        with suppress(OSError):  # a container may forbid it; the command runs, and is looked after
            # The group: the command may have started others by now.
            os.setpriority(os.PRIO_PGRP, child.pid, min(os.nice(0) + nice, 19))
    return child


def _open_log(log: Path) -> int:
    try:
        return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
    except OSError as error:
        _log.warning("%s cannot be written, the output is dropped: %s", log, error.strerror)
        return os.open(os.devnull, os.O_WRONLY)
