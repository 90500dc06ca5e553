"""How a command is started on this host."""

import fcntl
import os
import signal
import subprocess
from pathlib import Path

import pytest
from running import wait_for

from maejobs.launch import local
from maejobs.launch.local import CouldNotStart, start

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "WORD": "from the run"}


def output_of(tmp_path: Path, script: str, **arguments) -> str:
    log = tmp_path / "log"
    child = start(["sh", "-c", script], ENVIRONMENT, tmp_path, log, **arguments)
    assert child.wait(timeout=20) == 0
    return log.read_text()


def test_it_leads_a_group_and_a_session_of_its_own(tmp_path):
    child = start(["sleep", "60"], ENVIRONMENT, tmp_path, tmp_path / "log")
    try:
        assert os.getpgid(child.pid) == os.getsid(child.pid) == child.pid
    finally:
        child.kill()
        child.wait()


def test_both_its_outputs_go_to_the_log_in_order(tmp_path):
    assert output_of(tmp_path, "echo one; echo two >&2; echo three") == "one\ntwo\nthree\n"


def test_the_log_is_appended_to_and_private(tmp_path):
    output_of(tmp_path, "echo first")

    assert output_of(tmp_path, "echo second") == "first\nsecond\n"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_it_gets_the_environment_given_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")

    output = output_of(tmp_path, "echo $WORD; env")

    assert output.startswith("from the run\n")
    assert "hunter2" not in output


def test_it_reads_nothing_and_works_in_the_directory_given(tmp_path):
    assert output_of(tmp_path, "cat; pwd") == f"{tmp_path}\n"


def test_its_children_are_as_nice_as_it_was_told_to_be(tmp_path):
    assert output_of(tmp_path, "sleep 0.2; nice", nice=7) == f"{min(os.nice(0) + 7, 19)}\n"


def test_who_was_started_before_we_could_say_so_is_as_nice(tmp_path, monkeypatch):
    popen, child = subprocess.Popen, tmp_path / "child"

    def busy(*arguments, **options):
        process = popen(*arguments, **options)
        wait_for(lambda: child.exists() and child.read_text())
        return process

    monkeypatch.setattr(local.subprocess, "Popen", busy)
    script = f"sleep 60 & echo $! > {child}; wait"
    with start(["sh", "-c", script], ENVIRONMENT, tmp_path, tmp_path / "log", nice=7) as leader:
        try:
            priority = os.getpriority(os.PRIO_PROCESS, int(child.read_text()))
        finally:
            os.killpg(leader.pid, signal.SIGKILL)
    assert priority == min(os.nice(0) + 7, 19)


def test_it_inherits_the_descriptors_named_and_no_others(tmp_path):
    kept, dropped = (os.open(tmp_path / name, os.O_CREAT | os.O_RDWR) for name in "ab")
    for descriptor in (kept, dropped):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    child = start(["sleep", "60"], ENVIRONMENT, tmp_path, tmp_path / "log", keep_open=[kept])
    try:
        os.close(kept)
        os.close(dropped)
        with (tmp_path / "a").open() as a, (tmp_path / "b").open() as b:
            fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with pytest.raises(BlockingIOError):
                fcntl.flock(a, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        child.kill()
        child.wait()


def test_a_command_that_is_not_there_could_not_start(tmp_path):
    with pytest.raises(CouldNotStart, match="could not start no-such-command: No such file"):
        start(["no-such-command"], ENVIRONMENT, tmp_path, tmp_path / "log")


def test_a_working_directory_that_is_not_there_is_named(tmp_path):
    gone = tmp_path / "gone"

    with pytest.raises(CouldNotStart, match=f"working directory {gone}: No such file"):
        start(["true"], ENVIRONMENT, gone, tmp_path / "log")


def test_a_log_that_cannot_be_opened_costs_the_output_not_the_run(tmp_path, caplog):
    (tmp_path / "log").mkdir()

    child = start(
        ["sh", "-c", "echo lost; echo kept > file"], ENVIRONMENT, tmp_path, tmp_path / "log"
    )

    assert child.wait(timeout=20) == 0
    assert (tmp_path / "file").read_text() == "kept\n"
    assert "the output is dropped" in caplog.text


def test_what_it_writes_is_private_unless_it_says_otherwise(tmp_path):
    caller = os.umask(0o022)
    try:
        output_of(tmp_path, "echo x > file; mkdir directory; umask 022; echo x > shared")
    finally:
        os.umask(caller)

    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"log": 0o600, "file": 0o600, "directory": 0o700, "shared": 0o644}
