"""Tells a run to stop, whoever still looks after it."""

import os
import signal

from maejobs.launch.process import boot_id, host_name, is_alive, signal_group
from maejobs.rundb.run import Run


def stop_run(run: Run) -> bool:
    """TERM to the run's supervisor, which hands it on; to the command if that is all there is.

    Returns False where neither lives on this host and boot: there is nothing to stop.
    """
    if run.host != host_name() or run.boot_id != boot_id():
        return False
    if run.supervisor_pid and is_alive(run.supervisor_pid, run.supervisor_started):
        try:
            os.kill(run.supervisor_pid, signal.SIGTERM)
        except ProcessLookupError:
            return False
        return True
    if run.pid and is_alive(run.pid, run.pid_started):
        signal_group(run.pid, signal.SIGTERM)
        return True
    return False
