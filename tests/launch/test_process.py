"""Who a process is, who is in its group, what it used."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from maejobs.launch.process import (
    boot_id,
    group_members,
    is_alive,
    peak_memory,
    signal_group,
    start_time,
)

HEAVY = "data = bytearray(60_000_000); del data; print('ready', flush=True); input()"


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process
        process.kill()


def test_a_process_lives_until_it_is_dead(sleeper):
    started = start_time(sleeper.pid)

    assert is_alive(sleeper.pid, started)

    sleeper.kill()
    sleeper.wait()
    assert not is_alive(sleeper.pid, started)


def test_a_dead_process_that_nobody_has_reaped_does_not_live(sleeper):
    started = start_time(sleeper.pid)

    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)

    assert not is_alive(sleeper.pid, started)


def test_somebody_else_with_the_same_pid_is_not_the_process(sleeper):
    assert not is_alive(sleeper.pid, start_time(sleeper.pid) - 60)


def test_a_process_that_was_never_recorded_does_not_live():
    assert not is_alive(None, None)
    assert not is_alive(os.getpid(), None)


def test_a_group_has_its_leader_and_who_was_started_by_it():
    script = "sleep 60 & echo started; wait"
    with subprocess.Popen(
        ["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE
    ) as leader:
        leader.stdout.readline()

        members = group_members(leader.pid)
        assert leader.pid in members
        assert len(members) == 2

        signal_group(leader.pid, signal.SIGKILL)
        give_up = time.monotonic() + 10
        while group_members(leader.pid):
            assert time.monotonic() < give_up
        signal_group(leader.pid, signal.SIGKILL)
        leader.wait()
    signal_group(leader.pid, signal.SIGKILL)  # a group that is gone is fine


def test_peak_memory_is_what_was_once_used_not_what_is():
    with subprocess.Popen(
        [sys.executable, "-c", HEAVY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()

        assert 60_000_000 < peak_memory(process.pid) < 120_000_000

        process.communicate(b"\n")
    assert peak_memory(process.pid) is None


def test_the_boot_has_a_name():
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_a_process_whose_name_is_cut_amid_a_letter_is_looked_at(tmp_path):
    program = tmp_path / "обучение-модели"  # of which the kernel keeps 15 bytes
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as process:
        try:
            assert peak_memory(process.pid) > 0
        finally:
            process.kill()


def test_a_group_that_was_held_hears_that_it_is_to_stop(sleeper):
    os.killpg(sleeper.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)

    signal_group(sleeper.pid, signal.SIGTERM)

    assert sleeper.wait(10) == -signal.SIGTERM
