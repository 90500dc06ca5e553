"""A started command until its end: deadline, signals, grace, what it used."""

import errno
import math
import os
import signal
import threading
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from running import ORDERLY, STUBBORN, kill, lives, wait_for

from maejobs import clock
from maejobs.launch.local import start
from maejobs.launch.process import group_members, peak_memory
from maejobs.supervise.child import CANCEL, DEADLINE, Ending, caught_signals, supervise

# The leader ends at once when told to; a grandchild in its group ignores TERM.
STUBBORN_GRANDCHILD = (
    "sh -c \"trap '' TERM; while :; do sleep 0.05; done\" & echo $! > grandchild; "
    "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"
)
# The leader ends at once; a grandchild in a session of its own, without a parent, is deaf to TERM.
ESCAPED_GRANDCHILD = (
    "(setsid sh -c \"trap '' TERM; echo \\$\\$ > grandchild; while :; do sleep 0.05; done\" &); "
    "until [ -s grandchild ]; do sleep 0.05; done; " + ORDERLY
)


class Command:
    """A command in a directory, supervised in this process; `send` from another thread."""

    def __init__(self, directory: Path, script: str) -> None:
        self.log = directory / "log"
        environment = {"PATH": os.environ["PATH"]}
        self.child = start(["sh", "-c", script], environment, directory, self.log)

    @property
    def ready(self) -> bool:
        return "ready" in self.log.read_text()


@pytest.fixture
def look_after(tmp_path):
    commands = []

    def run(script: str, seconds=math.inf, grace=20.0, signals=(), on_tick=lambda: None) -> Ending:
        """`signals`: numbers of seconds after `ready` at which we get a TERM."""
        with caught_signals() as caught:
            command = Command(tmp_path, script)
            commands.append(command)
            if "ready" in script:
                wait_for(lambda: command.ready)
            with sending(signals):
                return supervise(command.child, seconds, grace, caught, on_tick)

    yield run
    for command in commands:
        for pid in group_members(command.child.pid):
            kill(pid, signal.SIGKILL)


@contextmanager
def sending(delays):
    timers = [threading.Timer(d, os.kill, (os.getpid(), signal.SIGTERM)) for d in delays]
    for timer in timers:
        timer.start()
    yield
    for timer in timers:
        timer.cancel()
        timer.join()


def elapsed(since: float) -> float:
    return time.monotonic() - since


def test_a_command_that_ends_is_left_to_it(look_after):
    ending = look_after("exit 3")

    assert (ending.exit_code, ending.signal, ending.stopped_for) == (3, None, None)


def test_a_command_killed_by_somebody_ended_by_a_signal(look_after):
    ending = look_after("kill -9 $$")

    assert (ending.exit_code, ending.signal, ending.stopped_for) == (None, signal.SIGKILL, None)


def test_at_the_deadline_it_is_asked_to_stop_and_may_do_so_in_good_order(look_after):
    before = time.monotonic()

    ending = look_after(ORDERLY, seconds=0.5)

    assert (ending.exit_code, ending.stopped_for) == (0, DEADLINE)
    assert 0.5 <= elapsed(before) < 10


def test_the_deadline_passes_while_the_host_sleeps(look_after, monkeypatch):
    slept = 0.0
    steady = clock.steady
    monkeypatch.setattr(clock, "steady", lambda: steady() + slept)

    def on_tick() -> None:
        nonlocal slept
        slept = 3600.0

    assert look_after(ORDERLY, seconds=1800, on_tick=on_tick).stopped_for == DEADLINE
    assert time.clock_gettime(time.CLOCK_BOOTTIME) - steady() < 1


def test_while_the_host_sleeps_the_grace_does_not_pass(look_after, tmp_path, monkeypatch):
    slept = 0.0
    steady = clock.steady
    monkeypatch.setattr(clock, "steady", lambda: steady() + slept)

    def on_tick() -> None:
        nonlocal slept
        slept = 3600.0 if "saving" in (tmp_path / "log").read_text() else 0.0

    script = "trap 'echo saving; sleep 0.6; exit 0' TERM; echo ready; while :; do sleep 0.05; done"

    assert look_after(script, seconds=0.1, on_tick=on_tick).exit_code == 0


def test_whatever_a_look_meets_the_deadline_is_seen_to(look_after):
    def broken() -> None:
        raise UnicodeDecodeError("utf-8", b"", 0, 1, "somebody's name")

    ending = look_after(ORDERLY, seconds=0.3, on_tick=broken)

    assert (ending.exit_code, ending.stopped_for) == (0, DEADLINE)


def test_who_is_left_is_killed_where_nobody_can_look_who_that_is(look_after, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENFILE, "Too many open files in system")

    monkeypatch.setattr(psutil, "pids", full)
    ending = look_after(STUBBORN_GRANDCHILD, seconds=0.2, grace=0.5)
    assert (ending.exit_code, ending.stopped_for) == (0, DEADLINE)
    grandchild = int((tmp_path / "grandchild").read_text())
    monkeypatch.undo()
    wait_for(lambda: not lives(grandchild))


def test_a_kernel_that_gives_no_descriptor_of_a_process_will_do(look_after, monkeypatch):
    def unknown(pid: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", unknown)

    assert look_after("sleep 0.1; exit 3").exit_code == 3


def test_who_does_not_stop_within_the_grace_is_killed(look_after):
    before = time.monotonic()

    ending = look_after(STUBBORN, seconds=0.2, grace=0.6)

    assert (ending.signal, ending.stopped_for) == (signal.SIGKILL, DEADLINE)
    assert 0.8 <= elapsed(before) < 10


def test_a_grandchild_that_ignores_the_request_does_not_outlive_the_grace(look_after, tmp_path):
    ending = look_after(STUBBORN_GRANDCHILD, seconds=0.2, grace=0.8)

    assert (ending.exit_code, ending.stopped_for) == (0, DEADLINE)
    grandchild = int((tmp_path / "grandchild").read_text())
    wait_for(lambda: not lives(grandchild))


@pytest.mark.parametrize("signals", [[], [0.1, 1.0]], ids=["deadline", "second signal"])
def test_a_grandchild_in_another_session_does_not_outlive_it_either(look_after, tmp_path, signals):
    before = time.monotonic()
    limits = {"grace": 60, "signals": signals} if signals else {"seconds": 0.2, "grace": 0.8}

    ending = look_after(ESCAPED_GRANDCHILD, **limits)

    assert ending.exit_code == 0
    assert elapsed(before) < 20
    assert not lives(int((tmp_path / "grandchild").read_text()))


def test_a_grandchild_in_another_session_is_told_to_stop_once_the_leader_has(look_after, tmp_path):
    saves = "trap 'echo saved > log2; exit' TERM; echo ready; while :; do sleep 0.05; done"
    before = time.monotonic()

    look_after(f'(setsid sh -c "{saves}" &); sleep 60', seconds=0.3, grace=60)

    assert (tmp_path / "log2").read_text() == "saved\n"
    assert elapsed(before) < 20


def test_a_grandchild_has_what_is_left_of_the_grace_to_end_by_itself(look_after, tmp_path):
    script = "sh -c \"trap '' TERM; sleep 0.7; echo saved >> log2\" & " + ORDERLY

    ending = look_after(script, seconds=0.1)

    assert ending.exit_code == 0
    assert (tmp_path / "log2").read_text() == "saved\n"


def test_a_background_process_of_a_command_that_ended_by_itself_is_left_alone(look_after, tmp_path):
    before = time.monotonic()

    look_after("sleep 30 & echo $! > background; (setsid sh -c 'echo $$ > daemon; sleep 30' &)")

    assert elapsed(before) < 10
    assert lives(int((tmp_path / "background").read_text()))
    daemon = tmp_path / "daemon"
    wait_for(lambda: daemon.exists() and daemon.read_text())
    assert lives(int(daemon.read_text()))
    os.killpg(int(daemon.read_text()), signal.SIGKILL)


def test_a_signal_to_us_reaches_the_command_within_a_second(look_after):
    before = time.monotonic()

    ending = look_after(ORDERLY, signals=[0.5])

    assert (ending.exit_code, ending.stopped_for) == (0, CANCEL)
    assert elapsed(before) < 1.5 + 1.0  # half a second to the signal, one for a busy host


def test_a_signal_reaches_it_at_once_and_once_whatever_keeps_us(look_after, tmp_path):
    script = "trap 'echo $(date +%s.%N) >> told' TERM; echo ready; until [ -s told ]; do sleep 0.05"
    told = tmp_path / "told"
    sent = []

    def busy() -> None:
        if not sent:
            sent.append(time.time())
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1.5)

    ending = look_after(f"{script}; done; sleep 0.5", on_tick=busy)
    (heard,) = told.read_text().split()
    assert float(heard) - sent[0] < 1.0
    assert (ending.exit_code, ending.stopped_for) == (0, CANCEL)


def test_a_signal_after_its_end_does_not_unsay_that_it_has_ended_well(look_after):
    def late() -> None:
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    ending = look_after("sleep 0.2", on_tick=late)
    assert (ending.exit_code, ending.stopped_for) == (0, None)


def test_a_second_signal_kills_at_once(look_after):
    before = time.monotonic()

    ending = look_after(STUBBORN, grace=60, signals=[0.1, 0.6])

    assert (ending.signal, ending.stopped_for) == (signal.SIGKILL, CANCEL)
    assert elapsed(before) < 10


def test_a_second_signal_kills_what_the_leader_left_behind_as_well(look_after, tmp_path):
    before = time.monotonic()

    look_after(STUBBORN_GRANDCHILD, grace=60, signals=[0.1, 1.0])

    assert elapsed(before) < 15
    wait_for(lambda: not lives(int((tmp_path / "grandchild").read_text())))


def test_one_signal_after_the_deadline_leaves_the_grace_alone(look_after):
    # A host that shuts down sends TERM to everybody: a trainer that is just saving may finish.
    script = "trap 'sleep 1.2; echo saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done"

    ending = look_after(script, seconds=0.1, grace=60, signals=[0.6])

    assert (ending.exit_code, ending.stopped_for) == (0, DEADLINE)


def test_a_signal_from_before_the_start_is_not_lost(tmp_path):
    with caught_signals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        command = Command(tmp_path, "sleep 60")

        ending = supervise(command.child, math.inf, 1.0, signals, lambda: None)

    assert ending.stopped_for == CANCEL


def test_afterwards_signals_mean_what_they_meant_before():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    with caught_signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.drain() == 1

    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_it_is_looked_at_at_least_twice_a_second(look_after):
    ticks = []

    look_after("sleep 2", on_tick=lambda: ticks.append(time.monotonic()))

    assert len(ticks) >= 4
    assert max(later - earlier for earlier, later in pairwise(ticks)) < 1.0


def test_cpu_time_is_the_commands_with_its_children(look_after):
    busy = look_after("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")
    idle = look_after("sleep 0.3")

    assert busy.cpu_seconds > 0.02
    assert idle.cpu_seconds < busy.cpu_seconds


def test_a_small_command_is_not_said_to_have_used_our_memory(look_after):
    assert look_after("exec sleep 0.3").peak_memory < 20_000_000


def test_the_memory_of_a_small_grandchild_is_seen(look_after):
    ending = look_after("python3 -c 'import time; x = bytearray(20_000_000); time.sleep(1)'; true")

    assert 20_000_000 < ending.peak_memory < 60_000_000


def test_a_large_commands_memory_is_exact_however_short_it_was(look_after):
    # Larger than this very process, of which it is a copy before it becomes a command.
    size = peak_memory(os.getpid()) + 50_000_000

    ending = look_after(f"python3 -c 'x = bytearray({size})'")

    assert size < ending.peak_memory < size + 50_000_000
