"""First come, first served, whoever dies on the way."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import wait_for

from maejobs.jobs.model import GpuNeed
from maejobs.launch.gpus import Gpu
from maejobs.supervise import gpu_gate
from maejobs.supervise.gpu_gate import NotNow, take_gpus
from maejobs.supervise.line import Line
from maejobs.supervise.locks import acquire, line_of

WAIT = """
import sys, time
from pathlib import Path
from maejobs.supervise import locks
locks.POLL_SECONDS = 0.02
path, name, served = sys.argv[1:]
with locks.acquire(Path(path), name, 60):
    with open(served, "a") as file:
        print(name, file=file, flush=True)
"""
Waiters = Callable[..., "list[subprocess.Popen[bytes]]"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "lock-gpu0.lock"


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A file with the names of those who got the lock, in order."""
    return tmp_path / "served"


@pytest.fixture
def waiters(path: Path, served: Path) -> Iterator[Waiters]:
    """`waiters("a", "b")`: processes that wait for the lock, each in line before the next comes."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*names: str) -> list[subprocess.Popen[bytes]]:
        for name in names:
            started.append(subprocess.Popen([sys.executable, "-c", WAIT, path, name, served]))
            wait_for(lambda name=name: name in in_line(path))
        return started

    yield start
    for process in started:
        process.kill()
        process.wait()


def in_line(path: Path) -> list[str]:
    return [ticket.read_text() for ticket in sorted(line_of(path).glob("*"))]


def names_in(served: Path) -> list[str]:
    return served.read_text().split() if served.exists() else []


def test_who_waits_is_served_in_the_order_of_coming(path, served, waiters):
    names = ["d", "b", "a", "c", "e"]
    with acquire(path, "holder"):
        processes = waiters(*names)
    assert [process.wait(30) for process in processes] == [0] * 5
    assert names_in(served) == names


def test_one_that_is_killed_while_it_waits_is_in_nobodys_way(path, served, waiters):
    with acquire(path, "holder"):
        processes = waiters("first", "second", "third", "fourth")
        for killed in (processes[0], processes[2]):
            killed.kill()
            killed.wait()
    assert [processes[n].wait(30) for n in (1, 3)] == [0, 0]
    assert names_in(served) == ["second", "fourth"]


def test_a_killed_holder_lets_the_first_in_line_go_on(path, served, waiters):
    lock = acquire(path, "holder")
    keeps_it = subprocess.Popen(["sleep", "60"], pass_fds=[lock.descriptor])
    os.close(lock.descriptor)
    processes = waiters("first", "second")
    assert names_in(served) == []
    keeps_it.kill()
    keeps_it.wait()
    assert [process.wait(30) for process in processes] == [0, 0]
    assert names_in(served) == ["first", "second"]


def test_nobody_overtakes_those_in_line(path):
    with Line(line_of(path), "patient") as line:
        line.join()
        assert acquire(path, "in a hurry") is None
    assert acquire(path, "in a hurry") is not None


def test_a_line_says_who_is_first_and_closes_up_behind_who_leaves(tmp_path):
    first, second, third = (Line(tmp_path / "line", name) for name in ("a", "b", "c"))
    assert first.ahead() is None
    for line in (first, second, third):
        line.join()
        line.join()  # who stands in it does not lose the place
    assert [line.ahead() for line in (first, second, third)] == [None, "a", "a"]
    second.leave()
    first.leave()
    assert third.ahead() is None
    assert Line(tmp_path / "line", "d").ahead() == "c"
    third.leave()
    third.leave()
    assert Line(tmp_path / "line", "d").ahead() is None


def test_who_comes_after_an_empty_line_is_behind_nobody_and_before_the_next(tmp_path):
    for name in ("a", "b", "c"):
        with Line(tmp_path / "line", name) as line, Line(tmp_path / "line", "next") as behind:
            line.join()
            behind.join()
            assert (line.ahead(), behind.ahead()) == (None, name)
    assert len(list((tmp_path / "line").iterdir())) == 1  # the newest number is remembered


def test_a_line_that_cannot_be_written_costs_the_order_and_not_the_lock(path):
    path.parent.mkdir()
    line_of(path).write_text("in the way")
    held = acquire(path, "holder")
    assert acquire(path, "us", timeout=0.3) is None
    held.release()
    assert acquire(path, "us", timeout=20) is not None


def test_a_run_that_needs_two_gpus_is_not_passed_by_one_that_needs_one(home, monkeypatch):
    monkeypatch.setattr(gpu_gate, "POLL_SECONDS", 0.01)
    one_busy = [Gpu(0, 10, (5,)), Gpu(1, 10, ())]
    passed: list[str] = []

    def host() -> list[Gpu]:
        """While the first waits for the second GPU, another asks for the one that is free."""
        if not passed and Line(home.locks_dir / gpu_gate.LINE_NAME, "").ahead():
            with pytest.raises(NotNow, match="a-1 waits for GPUs already") as no:
                take_gpus(home, GpuNeed(), "b-1", 0, lambda: False, lambda: one_busy)
            passed.append(no.value.reason)
        return [Gpu(0, 10, ()), Gpu(1, 10, ())] if passed else one_busy

    stack, _, taken = take_gpus(home, GpuNeed(count=2), "a-1", 60, lambda: False, host)
    with stack:
        assert ([gpu.index for gpu in taken], passed) == ([0, 1], ["gpu_busy"])


def test_a_ticket_that_was_taken_for_a_dead_ones_before_it_was_locked_is_none(path, monkeypatch):
    lock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        Path(f"/proc/self/fd/{descriptor}").readlink().unlink()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with Line(path, "first") as first, Line(path, "second") as second:
        first.join()
        second.join()
        assert second.ahead() == "first"
