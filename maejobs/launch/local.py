"""Starts a run's command on this host: own session and group, output straight to a file."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from maejobs.errors import MaejobsError
from maejobs.files import FILE_MODE


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
    writing. `keep_open` are descriptors it inherits, so that a lock outlives the supervisor.
    Raises CouldNotStart.
    """
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
    try:
        child = subprocess.Popen(
            list(command),
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=keep_open,
        )
    except OSError as error:
        raise CouldNotStart(f"could not start {command[0]}: {error.strerror or error}") from error
    finally:
        os.close(output)
    if nice:
        os.setpriority(os.PRIO_PROCESS, child.pid, nice)
    return child
