"""Starts one of our own commands so that it outlives us."""

import os
import sys
from collections.abc import Sequence


def start_detached(arguments: Sequence[str]) -> int:
    """The pid of `maejobs ARGUMENTS`, in a session of its own, on /dev/null. Raises OSError.

    `-P`: whatever lies about in the working directory is not imported. `MAEJOBS_RUN_ID` is empty:
    a sender that a supervisor starts while a command runs is none of that command's processes.
    """
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", "maejobs", *arguments],
        os.environ | {"MAEJOBS_RUN_ID": ""},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, 0, 2),
        ],
        setsid=True,
    )
