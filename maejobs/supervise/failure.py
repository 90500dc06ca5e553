"""What kind of failure it was, from the evidence. Pure: evidence in, a class out."""

import errno
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from maejobs.jobs.failures import (
    BAD_COMMAND,
    BAD_INPUT,
    COULD_NOT_START,
    CUDA_OUT_OF_MEMORY,
    DIVERGED,
    EXIT_CODE,
    NO_SPACE,
    OOM_KILLED,
    SIGNAL,
    STALLED,
    TIMED_OUT,
    XID,
)
from maejobs.supervise.child import DEADLINE, STALL, Ending

BAD_INPUT_CODE = 2  # of maejobs, mae and most commands: a word or a file given to them is wrong
KILLED_CODE = 128 + signal.SIGKILL  # what a shell ends with whose command got KILL
FULL = 1_000_000  # bytes; a disk with less is full

_CUDA_OUT_OF_MEMORY = re.compile(
    rb"CUDA out of memory|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY"
    rb"|torch\.(cuda\.)?OutOfMemoryError"
)
_XID = re.compile(rb"NVRM: Xid")
_NO_SPACE = re.compile(rb"No space left on device|Disk quota exceeded|\b(ENOSPC|EDQUOT)\b")
_DIVERGED = re.compile(rb"the training went wrong")  # mae's words
_WORKER_KILLED = re.compile(rb"killed by signal: Killed")  # PyTorch's, of a process of a loader

# No such program, or none that this account may run: the job file's fault. The rest is the host's.
_OF_THE_COMMAND = frozenset(
    {
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.ENOEXEC,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.E2BIG,
    }
)
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})

EXPLANATIONS = {
    OOM_KILLED: "the kernel killed it for want of memory",
    CUDA_OUT_OF_MEMORY: "the GPU's memory was full",
    XID: "the GPU or its driver failed (Xid)",
    NO_SPACE: "the disk was full",
    DIVERGED: "the training diverged",
}


@dataclass(frozen=True)
class Evidence:
    """What is known of a command that ended badly, and of the host meanwhile."""

    ending: Ending
    tail: bytes = b""  # the end of what it wrote, whatever bytes these are
    outcome: str | None = None  # the status of its last outcome event
    oom_kills: int = 0  # processes that the kernel killed meanwhile for want of memory
    kernel_log: bytes = b""  # what the kernel said meanwhile, where we may read it
    disk_free: int | None = None  # bytes, where the run's directory is


def classify(evidence: Evidence) -> str:
    """The class of a failure.

    What we did to the command comes first, then what it said of itself by an event, then what the
    kernel says, then what it wrote; where nothing tells more, how it ended.
    """
    ending, tail = evidence.ending, evidence.tail
    if ending.stopped_for == STALL:
        return STALLED
    if ending.stopped_for == DEADLINE:
        return TIMED_OUT
    if evidence.outcome == DIVERGED:
        return DIVERGED
    if evidence.oom_kills and _was_killed(evidence):
        return OOM_KILLED
    # Another process's Xid is no news of a command that says nothing of CUDA.
    if _XID.search(tail) or (_XID.search(evidence.kernel_log) and b"CUDA" in tail):
        return XID
    if _CUDA_OUT_OF_MEMORY.search(tail):
        return CUDA_OUT_OF_MEMORY
    if _NO_SPACE.search(tail) or (evidence.disk_free is not None and evidence.disk_free < FULL):
        return NO_SPACE
    if _DIVERGED.search(tail):
        return DIVERGED
    if ending.signal is not None:
        return SIGNAL
    return BAD_INPUT if ending.exit_code == BAD_INPUT_CODE else EXIT_CODE


def class_of_start(error: BaseException | None, command: Sequence[str] | None = None) -> str:
    """The class of a failure to start `command` at all; None: to look whether it may be started."""
    if not isinstance(error, OSError):
        return COULD_NOT_START
    if error.errno in _OF_THE_DISK:
        return NO_SPACE
    # Also a working directory may be missing: a disk that is not mounted, say.
    if command and error.filename == command[0] and error.errno in _OF_THE_COMMAND:
        return BAD_COMMAND
    return COULD_NOT_START


def explained(reason: str | None, failure_class: str) -> str | None:
    """The reason, with what the class says beyond it."""
    why = EXPLANATIONS.get(failure_class)
    return f"{reason}: {why}" if why else reason


def _was_killed(evidence: Evidence) -> bool:
    """Whether it, or a process of its own, got a KILL that we did not send."""
    ending = evidence.ending
    return (
        ending.signal == signal.SIGKILL
        or ending.exit_code == KILLED_CODE
        or _WORKER_KILLED.search(evidence.tail) is not None
    )
