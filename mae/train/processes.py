"""`mae pretrain --processes N`: the same command N times on this host, one process a GPU.

torchrun does that as well, and on several hosts. But told to stop it fails, whatever the processes
made of it, and it has one exit code for all that may go wrong. Here a run that pauses succeeds, and
a run that fails has the exit code that one process would have had.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from typing import Any

from mae.errors import BadInput
from mae.loading import loading
from mae.train.stopping import SIGNALS

LOOK_SECONDS = 0.1
STARTED_BY = "MAE_STARTED_BY"  # the process id of what started this one
SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)
# For the others, when one has failed: they find out by themselves, and may have to finish a
# checkpoint that is being written.
GRACE_SECONDS = 60.0


def is_started_here(count: int) -> bool:
    """Whether this process is to start others. Raises BadInput if it was itself started as one."""
    world = os.environ.get("WORLD_SIZE")
    if world is not None and world != str(count):
        raise BadInput(
            f"--processes {count} within {world} that were started already; leave out --processes"
        )
    return count > 1 and world is None


def follow_parent() -> None:
    """Be told to stop, with a checkpoint, when what started this process is gone.

    Does nothing in a process that was not started by `run_all`.
    """
    parent = os.environ.get(STARTED_BY)
    if parent is None:
        return
    ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != int(parent):  # it went before we asked
        os.kill(os.getpid(), signal.SIGTERM)


def run_all(count: int, arguments: list[str]) -> int:
    """Start mae with these arguments `count` times, and see it through: the exit code.

    TERM and INT are passed on; a second one kills.
    """
    signals: list[int] = []
    for number in SIGNALS:
        signal.signal(number, lambda number, _frame: signals.append(number))
    with loading():
        from torch.distributed import TCPStore

    # Here, and not in the first process, so that the others can still tell each other of its end.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    children = _start(count, arguments, store.port)
    passed_on, give_up = 0, None
    while any(child.poll() is None for child in children):
        time.sleep(LOOK_SECONDS)
        failed = any(child.returncode for child in children)
        if failed and give_up is None:
            give_up = time.monotonic() + GRACE_SECONDS
        if passed_on < len(signals):
            _send(children, signal.SIGKILL if passed_on else signals[0])
            passed_on = len(signals)
        if give_up is not None and time.monotonic() > give_up:
            _send(children, signal.SIGKILL)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # nothing is left to stop, as in Stop.ignore
    return _verdict([child.returncode for child in children], store)


def _start(count: int, arguments: list[str], port: int) -> list[subprocess.Popen[bytes]]:
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "WORLD_SIZE": str(count),
        STARTED_BY: str(os.getpid()),
    }
    threads = {"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // count))}
    shared = threads | dict(os.environ) | shared
    command = [sys.executable, "-m", "mae", *arguments]
    # A signal that comes before a child listens waits until it does (Stop.listen).
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        return [
            subprocess.Popen(command, env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank in range(count)
        ]
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _send(children: list[subprocess.Popen[bytes]], number: int) -> None:
    for child in children:
        child.send_signal(number)  # does nothing to one that has ended


def _verdict(codes: list[int], store: Any) -> int:
    """The exit code of all; a failure that no process could tell of is told."""
    if not any(codes):
        return 0
    if not store.check(["mae/speaker"]):
        killed = [rank for rank, code in enumerate(codes) if code]
        how = signal.Signals(-codes[killed[0]]).name if codes[killed[0]] < 0 else "an error"
        names = " and ".join(map(str, killed))
        print(f"mae: rank {names} of {len(codes)} died by {how}", file=sys.stderr)
    return next((code for code in codes if code > 0), 1)
