"""Output that nobody reads, or that no disk has room for: commands do what they do all the same."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from running import end_of, log_of, only_run, shell, supervisor, wait_for

from maejobs.cli import main
from maejobs.home import Home

from .table import Table

pytestmark = pytest.mark.fault

LOST = "maejobs: standard output cannot be written: No space left on device\n"
Call = Callable[..., tuple[int, str]]


@pytest.fixture(params=["its reader is gone", "no room"])
def call(request: pytest.FixtureRequest, home: Home, tmp_path: Path, table: Table) -> Call:
    """`call("status")`: the exit code of a copy of this process that becomes the command, and what
    it says of itself; its standard output takes nothing.
    """
    said, stdin = tmp_path / "said", tmp_path / "stdin"

    def run(*arguments: str, typed: str = "") -> tuple[int, str]:
        stdin.write_text(typed)
        said.write_text("")
        with table.injection(f"standard output: {request.param}"):
            if not (pid := os.fork()):
                _become(home, request.param == "no room", said, stdin, arguments)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        text = said.read_text()
        assert text.endswith(LOST) == (request.param == "no room"), text
        return code, text.removesuffix(LOST)

    return run


def _become(home: Home, full: bool, said: Path, stdin: Path, arguments: tuple[str, ...]) -> None:
    code: object = 99
    try:
        os.environ.clear()
        os.environ.update(HOME=str(home.root), PATH="/usr/bin:/bin", MAEJOBS_HOME=str(home.root))
        reading, unread = os.pipe()
        os.close(reading)
        os.dup2(os.open(stdin, os.O_RDONLY), 0)
        os.dup2(os.open("/dev/full", os.O_WRONLY) if full else unread, 1)
        os.dup2(os.open(said, os.O_WRONLY), 2)
        sys.stdin = os.fdopen(0)
        sys.stdout, sys.stderr = (os.fdopen(fd, "w", closefd=False) for fd in (1, 2))
        sys.argv = ["maejobs", *arguments]
        main()
    except SystemExit as left:
        code = left.code
        sys.stdout.flush()
    finally:
        os._exit(code if isinstance(code, int) else 99)


@pytest.fixture
def fine(request: pytest.FixtureRequest) -> tuple[int, str]:
    """How a call ends that has nothing to complain of but its output."""
    return (1 if "no room" in request.node.name else 0), ""


def test_what_is_to_be_written_is(home, write_job, call, fine):
    write_job("quick", 'command = ["true"]\nschedule = "0 2 * * *"\n')
    table = Path(home.crontab)
    assert call("apply", "--yes") == fine
    assert "0 2 * * * " in table.read_text()
    assert call("schedule", "quick", "0 7 * * *") == fine
    assert "0 7 * * * " in table.read_text()
    assert call("restore", "--yes") == fine
    assert "0 2 * * * " in table.read_text()
    assert call("unschedule", "quick") == fine
    assert "quick" not in table.read_text()


def test_what_fails_does_not_pass_for_done(home, write_job, call):
    write_job("fails", shell("echo one; echo two; exit 5") + 'schedule = "0 2 * * *"\n')
    assert call("run", "fails") == (1, "")
    assert only_run(home, "fails").reason == "exit code 5"
    assert call("retry", "fails") == (1, "")
    assert call("check", "60 * * * *") == (2, "")
    assert call("diff") == (1, "")
    write_job("bad", "")
    assert call("doctor") == (1, "")


def test_who_only_prints_ends_at_once(home, write_job, call, fine):
    write_job("endless", shell("yes 'a line of forty bytes, or near to that'"))
    Path(home.crontab).write_text("# mine\n")
    running = supervisor(home, "endless")
    wait_for(lambda: log_of(home, "endless"))
    try:
        assert call("logs", "endless", "-f") == fine
    finally:
        running.send_signal(signal.SIGTERM)
        end_of(running)
    for command in ("status", "jobs", "runs", "next", "list", "db export", "--help"):
        assert call(*command.split()) == fine
    assert call("check", "-", typed="* * * * *\n" * 200_000) == fine  # would take minutes
