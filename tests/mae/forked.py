"""`mae` without the seconds that a start of it takes: a copy of this process, which has loaded it.

Loading torch costs more than most of what is tested here. Where the start itself is not the
subject, `Forked` stands for the `subprocess.Popen` of `python -m mae …`: a process of its own, with
its own environment, standard streams, session and signals.
"""

import faulthandler
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, NoReturn

from mae.cli import main

LOOK_SECONDS = 0.02
ENDED_BY_PYTEST = [signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGPROF]


class Forked:
    """What tests use of `Popen`; output goes to files, so that nobody has to read it meanwhile."""

    def __init__(
        self,
        args: Sequence[Any],
        env: Mapping[str, str] | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        start_new_session: bool = False,
        preexec_fn: Callable[[], object] = int,
    ) -> None:
        self.args = [str(word) for word in args]
        assert self.args[:3] == [sys.executable, "-m", "mae"], self.args
        self.returncode: int | None = None
        self._outputs = [_output(told, own) for told, own in ((stdout, 1), (stderr, 2))]
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            if start_new_session:
                os.setsid()
            self._become(dict(os.environ if env is None else env), preexec_fn)

    def _become(self, environment: dict[str, str], preexec_fn: Callable[[], object]) -> NoReturn:
        code: object = 1
        try:
            faulthandler.disable()  # pytest's
            for number in ENDED_BY_PYTEST:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.environ.clear()
            os.environ.update(environment)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for descriptor, output in enumerate(self._outputs, 1):
                if output is not None:
                    os.dup2(output.fileno(), descriptor)
            preexec_fn()
            sys.stdin, sys.stdout, sys.stderr = (_stream(0), _stream(1), _stream(2))
            sys.argv = ["mae", *self.args[3:]]
            main()
        except SystemExit as left:
            code = left.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 1)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        give_up = time.monotonic() + (600 if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() > give_up:
                raise subprocess.TimeoutExpired(self.args, timeout or 600)
            time.sleep(LOOK_SECONDS)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Once only, and not before the process has ended."""
        self.wait(timeout)
        out, err = (_text_of(output) for output in self._outputs)
        return out, err

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    args: Sequence[Any],
    check: bool = False,
    env: Mapping[str, str] | None = None,
    preexec_fn: Callable[[], object] = int,
) -> "subprocess.CompletedProcess[str]":
    """As `subprocess.run` of text, with all output captured."""
    pipe = subprocess.PIPE
    process = Forked(args, env, pipe, pipe, preexec_fn=preexec_fn)
    out, err = process.communicate(timeout=120)
    assert not (check and process.returncode), err
    return subprocess.CompletedProcess(args, process.returncode or 0, out, err)


def _output(told: int | None, own: int) -> IO[bytes] | None:
    """A file for what goes to a pipe; None where it goes where this process's own goes."""
    assert told in (None, subprocess.PIPE), f"descriptor {own} goes to a pipe or nowhere else"
    return None if told is None else tempfile.TemporaryFile()


def _text_of(output: IO[bytes] | None) -> str:
    if output is None:
        return ""
    with output:
        output.seek(0)
        return output.read().decode(errors="replace")


def _stream(descriptor: int) -> io.TextIOWrapper | None:
    try:
        return io.TextIOWrapper(open(descriptor, "rb" if descriptor == 0 else "wb", closefd=False))
    except OSError:  # closed: then Python has none
        return None
