"""GPUs for a run: all or none, each locked for as long as its command lives."""

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Timer

import pytest
from fake_nvml import gpu_host, nvml_directory  # noqa: F401 (fixtures)

from maejobs.errors import NotNow
from maejobs.jobs.model import GpuNeed
from maejobs.launch.gpus import Gpu, NoGpus
from maejobs.supervise import gpu_gate
from maejobs.supervise.gpu_gate import take_gpus
from maejobs.supervise.locks import acquire, named_lock_file

MAEJOBS = Path(sys.executable).parent / "maejobs"
SHOW = """
gpu = { %s }
command = ["/bin/sh", "-c", "echo on $CUDA_VISIBLE_DEVICES by $CUDA_DEVICE_ORDER; %s"]
"""


def take(home, need, *gpus, patience=0.0, run="a-1"):
    stack, _, taken = take_gpus(home, need, run, patience, lambda: False, lambda: list(gpus))
    return [gpu.index for gpu in taken], stack


def test_free_ones_are_taken_and_given_back(home):
    host = (Gpu(0, 10, (5,)), Gpu(1, 10, ()), Gpu(2, 10, ()))
    taken, stack = take(home, GpuNeed(count=2), *host)
    assert taken == [1, 2]
    with pytest.raises(NotNow, match="GPU 0 computes for pid 5; GPU 1 is taken by a-1") as no:
        take(home, GpuNeed(), *host)
    assert no.value.reason == "gpu_busy"
    stack.close()
    assert take(home, GpuNeed(), *host)[0] == [1]


def test_too_few_leave_none_taken(home):
    with pytest.raises(NotNow, match="GPU 1 has 10 Bytes of 11 Bytes free"):
        take(home, GpuNeed(count=2, free=11), Gpu(0, 20, ()), Gpu(1, 10, ()))
    assert take(home, GpuNeed(), Gpu(0, 20, ()))[0] == [0]


def test_a_lock_that_cannot_be_had_leaves_none_taken(home):
    named_lock_file(home, "gpu1").mkdir(parents=True)
    with pytest.raises(OSError, match="gpu1"):
        take(home, GpuNeed(count=2), Gpu(0, 10, ()), Gpu(1, 10, ()))
    assert take(home, GpuNeed(), Gpu(0, 10, ()))[0] == [0]


def test_the_lock_gpu0_is_the_lock_of_gpu_0(home):
    lock = acquire(named_lock_file(home, "gpu0"), "b-1")
    with pytest.raises(NotNow, match="GPU 0 is taken by b-1"):
        take(home, GpuNeed(), Gpu(0, 10, ()))
    lock.release()


def test_more_than_there_are_is_told_at_once(home):
    with pytest.raises(NotNow, match="the host has 1 GPUs, the job asks for 2") as no:
        take(home, GpuNeed(count=2), Gpu(0, 10, ()), patience=60)
    assert no.value.reason == "no_gpu"


def test_a_sick_one_is_passed_over_and_named_where_it_is_missed(home):
    host = (Gpu(0, None, (), "GPU is lost"), Gpu(1, 10, ()))
    taken, stack = take(home, GpuNeed(), *host)
    assert taken == [1]
    with pytest.raises(NotNow, match="GPU 0 cannot be used: GPU is lost; GPU 1 is taken by") as no:
        take(home, GpuNeed(), *host)
    assert no.value.reason == "gpu_busy"
    stack.close()
    with pytest.raises(NotNow, match=r"has 2 GPUs, .* asks for 2; GPU 0 cannot be used") as no:
        take(home, GpuNeed(count=2), *host, patience=60)
    assert no.value.reason == "no_gpu"


def test_no_driver_is_told(home):
    def read():
        raise NoGpus("no GPU can be seen: Driver Not Loaded")

    with pytest.raises(NotNow, match="Driver Not Loaded"):
        take_gpus(home, GpuNeed(), "a-1", 60, lambda: False, read)


def test_it_waits_for_one_that_becomes_free_and_not_past_a_signal(home, monkeypatch):
    monkeypatch.setattr(gpu_gate, "POLL_SECONDS", 0.01)
    states = iter([[Gpu(0, 10, (5,))], [Gpu(0, 10, (5,))], [Gpu(0, 10, ())]])
    need = GpuNeed()
    stack, _, taken = take_gpus(home, need, "a-1", 60, lambda: False, lambda: next(states))
    assert [gpu.index for gpu in taken] == [0]
    stack.close()
    with pytest.raises(NotNow, match="computes for pid 5"):
        take_gpus(home, need, "a-1", 60, lambda: True, lambda: [Gpu(0, 10, (5,))])


def test_a_run_sees_its_gpus_and_no_other(write_job, maejobs, inside, gpu_host):  # noqa: F811
    write_job("train", SHOW % ("count = 2", "true"))
    host = gpu_host([], [4711], [], [])
    assert maejobs("exec", "train", **host).returncode == 0
    assert inside("logs", "train").stdout == "on 0,2 by PCI_BUS_ID\n"


def test_a_run_without_a_free_gpu_is_skipped_with_its_reason(write_job, maejobs, inside, gpu_host):  # noqa: F811
    write_job("train", SHOW % ("free = '90GB', wait = '1s'", "true"))
    for host, reason in ((gpu_host([]), "gpu_busy"), ({}, "no_gpu")):
        began = time.monotonic()
        assert maejobs("exec", "train", **host).returncode == 75
        assert reason == "no_gpu" or time.monotonic() - began >= 1
        (run, *_) = json.loads(inside("runs", "--json").stdout)
        assert (run["state"], run["reason"]) == ("skipped", reason)


def test_two_jobs_share_a_host_of_two_gpus_and_a_killed_supervisor_keeps_its_own(
    home,
    write_job,
    maejobs,
    inside,
    gpu_host,  # noqa: F811
):
    host = gpu_host([], [])
    for name in ("one", "two"):
        write_job(name, SHOW % ("count = 1", "sleep 30"))
    write_job("three", SHOW % ("count = 1", "true"))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home.root), **host}
    command = [MAEJOBS, "--home", home.root, "exec"]
    running = [
        subprocess.Popen([*command, name], env=environment, stderr=subprocess.DEVNULL)
        for name in ("one", "two")
    ]
    try:
        logs = [_wait_for_log(home, name) for name in ("one", "two")]
        assert sorted(logs) == ["on 0 by PCI_BUS_ID\n", "on 1 by PCI_BUS_ID\n"]
        running[0].kill()
        running[0].wait()
        third = maejobs("exec", "three", **host)
        assert third.returncode == 75
        why = inside("logs", "three").stdout
        assert "GPU 0 is taken by" in why
        assert "GPU 1 is taken by" in why
    finally:
        for name in ("one", "two"):
            inside("cancel", name)
        for process in running:
            process.wait(20)


def _wait_for_log(home, job: str) -> str:
    latest = time.monotonic() + 20
    while time.monotonic() < latest:
        for log in (home.runs_dir / job).glob("*/log"):
            if text := Path(log).read_text():
                return text
        time.sleep(0.05)
    raise AssertionError(f"{job} did not start")


def test_of_two_who_ask_for_all_at_once_one_has_them(home, monkeypatch):
    def slowly(path, *arguments):
        lock = acquire(path, *arguments)
        time.sleep(0.15 if lock and path.name.startswith("lock-gpu") else 0)
        return lock

    monkeypatch.setattr(gpu_gate, "acquire", slowly)
    had = []

    def ask(run: str) -> None:
        with suppress(NotNow):
            had.append(take(home, GpuNeed(count=2), Gpu(0, 10, ()), Gpu(1, 10, ()), run=run)[0])

    second = Timer(0.05, ask, ["b-1"])
    second.start()
    ask("a-1")
    second.join()
    assert had == [[0, 1]]
