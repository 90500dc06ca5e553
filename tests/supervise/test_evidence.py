"""What is gathered on a command's end: in bounds, from real files, and never an error."""

import os
import time

import pytest

from maejobs.rundb.directory import LOG_NAME
from maejobs.supervise.child import Ending
from maejobs.supervise.evidence import TAIL_BYTES, Witness, oom_kills, tail_of

ENDED = Ending(1, None, 1.0, 1, None)
OLD_XID = b"4,1,100,-;NVRM: Xid (PCI:0000:01:00): 31, pid=1\n"
NEW_XID = b"4,2,200,-;NVRM: Xid (PCI:0000:01:00): 79, pid=2\n"


def test_of_a_long_log_the_end_is_read(tmp_path):
    log = tmp_path / LOG_NAME
    with log.open("wb") as file:
        file.truncate(2**33)  # 8 GB of nothing
        file.seek(0, os.SEEK_END)
        file.write(b"\xff\0the end")
    began = time.monotonic()

    tail = tail_of(log)

    assert len(tail) == TAIL_BYTES
    assert tail.endswith(b"\0\xff\0the end")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_log_that_is_no_file_tells_nothing_and_blocks_nobody(tmp_path, make):
    make(tmp_path / LOG_NAME)

    assert tail_of(tmp_path / LOG_NAME) == b""
    assert tail_of(tmp_path / "missing") == b""


@pytest.fixture
def host(tmp_path):
    """A `/proc` and a `/sys/fs/cgroup`, in which the host counts 7 and our cgroup 2."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("4:memory:/x\n0::/system.slice/cron.service\n")
    (proc / "vmstat").write_text("nr_free_pages 5\noom_kill 7\n")
    ours = cgroups / "system.slice" / "cron.service"
    ours.mkdir(parents=True)
    (ours / "memory.events").write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    return proc, cgroups, ours / "memory.events"


def test_kills_are_counted_in_our_own_cgroup_else_on_the_host(host):
    proc, cgroups, ours = host
    assert oom_kills(proc, cgroups) == 2
    ours.unlink()
    assert oom_kills(proc, cgroups) == 7
    (proc / "self" / "cgroup").write_text("0::/\n")
    assert oom_kills(proc, cgroups) == 7


@pytest.mark.parametrize("text", ["", "oom_kill", "oom_kill many\n", "a b c\n"])
def test_a_counter_that_cannot_be_read_counts_nothing(host, text):
    proc, cgroups, ours = host
    ours.write_text(text)
    (proc / "vmstat").write_text(text)
    assert oom_kills(proc, cgroups) is None
    assert oom_kills(proc / "missing", cgroups) is None


def test_a_real_host_says_how_many_it_has_killed():
    assert oom_kills() is None or oom_kills() >= 0


def test_of_the_kernels_log_only_what_came_meanwhile_counts(tmp_path):
    log = tmp_path / "kmsg"
    log.write_bytes(OLD_XID)
    witness = Witness(log)
    with log.open("ab") as file:
        file.write(NEW_XID)

    evidence = witness.evidence(ENDED, tmp_path, None)
    witness.close()

    assert evidence.kernel_log == NEW_XID
    assert evidence.disk_free > 0


def test_of_the_kernels_log_the_drivers_words_are_kept_within_bounds(tmp_path):
    log = tmp_path / "kmsg"
    log.touch()
    silent, flooded = Witness(log), Witness(log)
    with log.open("ab") as file:
        file.write(b"6,3,300,-;usb 1-1: new device\n")
    assert silent.evidence(ENDED, tmp_path, None).kernel_log == b""
    with log.open("ab") as file:
        file.write(NEW_XID * 4000)
    assert len(flooded.evidence(ENDED, tmp_path, None).kernel_log) == TAIL_BYTES
    silent.close()
    flooded.close()


@pytest.mark.parametrize("name", ["missing", "fifo"])
def test_without_a_kernels_log_there_is_other_evidence(tmp_path, name):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / LOG_NAME).write_text("oops\n")
    witness = Witness(tmp_path / name)

    evidence = witness.evidence(ENDED, tmp_path, "paused")
    witness.close()

    assert (evidence.kernel_log, evidence.tail, evidence.outcome) == (b"", b"oops\n", "paused")


def test_where_the_runs_directory_is_gone_nothing_is_known(tmp_path):
    witness = Witness()
    evidence = witness.evidence(ENDED, tmp_path / "gone", None)
    witness.close()
    assert (evidence.tail, evidence.disk_free) == (b"", None)
