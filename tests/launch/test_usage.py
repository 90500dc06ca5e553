"""What processes take, against what is known of them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from maejobs.launch.cgroup import Cgroup
from maejobs.launch.usage import usage_of

HOLD = "held = bytearray(50_000_000); held[::4096] = bytes(12208); print(flush=True); input()"
OTHER = 2**22 + 1  # no pid is so large


def test_it_agrees_with_the_kernel_on_ourselves():
    usage, process = usage_of([os.getpid()]), psutil.Process()
    times = process.cpu_times()
    spent = times.user + times.system + times.children_user + times.children_system
    assert abs(usage.cpu_seconds - spent) < 1
    assert abs(usage.memory - process.memory_info().rss) < 20_000_000
    assert abs(usage.bytes_written - process.io_counters().write_bytes) < 20_000_000


def test_memory_of_several_is_summed_and_what_they_map_is_not():
    command = [sys.executable, "-c", HOLD]
    pipe = subprocess.PIPE
    holders = [subprocess.Popen(command, stdin=pipe, stdout=pipe) for _ in range(2)]
    try:
        for holder in holders:
            holder.stdout.readline()
        pids = [holder.pid for holder in holders]
        one, two = usage_of(pids[:1]).memory, usage_of([*pids, OTHER]).memory
        assert 50_000_000 < one < 75_000_000
        assert one + 50_000_000 < two < 2 * one
    finally:
        for holder in holders:
            holder.communicate(b"\n")


def test_the_time_of_an_ended_child_stays_with_who_waited_for_it():
    burn = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    before = usage_of([os.getpid()]).cpu_seconds
    subprocess.run([sys.executable, "-c", burn], check=True)
    time.sleep(0.01)
    assert usage_of([os.getpid()]).cpu_seconds - before > 0.25


def test_what_is_no_process_takes_nothing():
    assert usage_of([OTHER]) == (0.0, 0, 0, 0)
    assert usage_of([]) == (0.0, 0, 0, 0)


def test_a_cgroup_tells_the_time_of_all_that_ever_ran_in_it(tmp_path: Path):
    # Files as the kernel's: few hosts of tests let us make a cgroup.
    assert Cgroup(tmp_path).cpu_seconds() is None
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 9\nsystem_usec 1\n")
    assert Cgroup(tmp_path).cpu_seconds() == 2.5
    (tmp_path / "cpu.stat").write_text("nonsense\n")
    assert Cgroup(tmp_path).cpu_seconds() is None
