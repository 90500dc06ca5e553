"""Which class a failure is of, from the evidence."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.jobs.failures import CLASSES
from maejobs.supervise.child import DEADLINE, STALL, Ending
from maejobs.supervise.failure import (
    EXPLANATIONS,
    FULL,
    Evidence,
    class_of_start,
    classify,
    explained,
)
from maejobs.supervise.verdict import judge

WORKER = b"RuntimeError: DataLoader worker (pid 47) is killed by signal: Killed. "
XID = b"NVRM: Xid (PCI:0000:01:00): 79, pid=1234, GPU has fallen off the bus."
NO_ROOM = b"OSError: [Errno 28] No space left on device: '/data/x'"
CUDA_FULL = b"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
WENT_WRONG = b"mae: the training went wrong 3 times (steps 10 to 19: the loss is nan)"


def ending(exit_code=1, signal=None, stopped_for=None) -> Ending:
    return Ending(None if signal else exit_code, signal, 1.0, 1, stopped_for)


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (Evidence(ending(3)), "exit_code"),
        (Evidence(ending(2)), "bad_input"),
        (Evidence(ending(signal=11)), "signal"),
        (Evidence(ending(signal=9)), "signal"),
        (Evidence(ending(signal=9), oom_kills=1), "oom_killed"),
        (Evidence(ending(137), oom_kills=1), "oom_killed"),  # a shell whose command was killed
        (Evidence(ending(1), WORKER, oom_kills=1), "oom_killed"),
        (Evidence(ending(1), WORKER), "exit_code"),
        (Evidence(ending(1), oom_kills=1), "exit_code"),  # somebody else was killed
        (Evidence(ending(signal=11), oom_kills=1), "signal"),
        (Evidence(ending(1), CUDA_FULL), "cuda_out_of_memory"),
        (Evidence(ending(1), b"RuntimeError: CUDA error: out of memory"), "cuda_out_of_memory"),
        (Evidence(ending(1), b"cuInit: CUDA_ERROR_OUT_OF_MEMORY"), "cuda_out_of_memory"),
        (Evidence(ending(1), b"torch.OutOfMemoryError: Allocation"), "cuda_out_of_memory"),
        (Evidence(ending(1), b"torch.cuda.OutOfMemoryError: x"), "cuda_out_of_memory"),  # older
        (Evidence(ending(1), XID), "xid"),
        (Evidence(ending(1), b"CUDA error: unknown error", kernel_log=XID), "xid"),
        (Evidence(ending(1), b"no such user", kernel_log=XID), "exit_code"),  # not our GPU
        (Evidence(ending(1), NO_ROOM), "no_space"),
        (Evidence(ending(1), b"write: Disk quota exceeded"), "no_space"),
        (Evidence(ending(1), b"write: ENOSPC"), "no_space"),
        (Evidence(ending(1), b"write: EDQUOT (-122)"), "no_space"),
        (Evidence(ending(1), b"KENOSPCX"), "exit_code"),
        (Evidence(ending(2), NO_ROOM), "no_space"),
        (Evidence(ending(1), disk_free=FULL - 1), "no_space"),
        (Evidence(ending(1), disk_free=FULL), "exit_code"),
        (Evidence(ending(1), WENT_WRONG), "diverged"),
        (Evidence(ending(1), NO_ROOM, outcome="diverged"), "diverged"),
        (Evidence(ending(1), outcome="completed"), "exit_code"),
        (Evidence(ending(1, stopped_for=DEADLINE), NO_ROOM), "timed_out"),
        (Evidence(ending(signal=9, stopped_for=DEADLINE), oom_kills=1), "timed_out"),
        (Evidence(ending(0, stopped_for=STALL), CUDA_FULL), "stalled"),
    ],
)
def test_the_class_follows_from_the_evidence(evidence, expected):
    assert classify(evidence) == expected


ENDINGS = st.builds(
    Ending,
    st.one_of(st.none(), st.integers(0, 255)),
    st.one_of(st.none(), st.integers(1, 64)),
    st.just(0.0),
    st.none(),
    st.sampled_from([None, DEADLINE, STALL]),
)
WORDS = st.sampled_from(
    [WORKER, XID, NO_ROOM, CUDA_FULL, WENT_WRONG, b"\0", b"\xff\xfe", b"\x1b[2J"]
)
TAILS = st.lists(st.one_of(st.binary(max_size=50), WORDS), max_size=5).map(b"".join)


@given(ENDINGS, TAILS, st.one_of(st.none(), st.text()), st.integers(0, 3), TAILS)
def test_whatever_a_command_writes_the_class_is_one_of_those(how, tail, outcome, kills, kernel):
    found = classify(Evidence(how, tail, outcome, kills, kernel))
    assert found in CLASSES
    # No word of a command can turn being told to stop into a reason to be tried again.
    if how.stopped_for == DEADLINE:
        assert found == "timed_out"


def test_a_command_that_had_stalled_has_failed_however_it_stops():
    for how in (ending(0, stopped_for=STALL), ending(signal=9, stopped_for=STALL)):
        state, reason = judge(how, said_well=True)
        assert state == "failed"
        assert reason.startswith("stalled, and was told to stop; ")


def test_the_reason_says_what_the_class_adds():
    assert explained("exit code 3", "exit_code") == "exit code 3"
    assert explained("exit code 1", "no_space") == "exit code 1: the disk was full"
    assert EXPLANATIONS.keys() <= set(CLASSES)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOENT, "No such file or directory", "train"), "bad_command"),
        (OSError(errno.EACCES, "Permission denied", "train"), "bad_command"),
        (OSError(errno.ENOENT, "No such file or directory", "/home/x"), "could_not_start"),
        (OSError(errno.ETXTBSY, "Text file busy", "train"), "could_not_start"),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), "could_not_start"),
        (OSError(errno.ENOSPC, "No space left on device"), "no_space"),
        (ValueError("embedded null byte"), "could_not_start"),
        (None, "could_not_start"),
    ],
    ids=str,
)
def test_what_cannot_be_started_is_the_commands_fault_or_the_hosts(error, expected):
    assert class_of_start(error, ["train", "--fast"]) == expected


def test_a_gate_that_cannot_be_asked_is_the_hosts_fault():
    missing = OSError(errno.ENOENT, "No such file or directory", "train")
    assert class_of_start(missing) == "could_not_start"
