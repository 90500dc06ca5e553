"""What the command line's tests share: the home's bytes, a terminal, and runs made by hand."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import MAEJOBS

from maejobs.home import Home

Snapshot = dict[str, bytes | None]


@pytest.fixture
def snapshot(home: Home) -> Callable[[], Snapshot]:
    """Every path below the home with its bytes, but for what SQLite keeps beside its file."""

    def take() -> Snapshot:
        return {
            str(path.relative_to(home.root)): path.read_bytes() if path.is_file() else None
            for path in sorted(home.root.rglob("*"))
            if not path.name.endswith(("-wal", "-shm"))
        }

    return take


class Terminal:
    """The installed command on a terminal of its own."""

    def __init__(self, argv: list[str], env: dict[str, str], columns: int) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._process = subprocess.Popen(
            argv,
            env=env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(slave)
        self.text = ""
        self._met = 0

    def wait_for(self, words: str, seconds: float = 90) -> None:
        """Read until `words` have been shown behind what was waited for last."""
        give_up = time.monotonic() + seconds
        while (found := self.text.find(words, self._met)) < 0:
            if not self._read(give_up):
                pytest.fail(f"{words!r} was not shown; what was: {self.text!r}")
        self._met = found + len(words)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def insist(self, text: str, tries: int = 20) -> None:
        """Type `text` until the command ends.

        Python's readline misses a Ctrl-C that comes just before it begins to wait, until the next.
        """
        for _ in range(tries):
            with suppress(OSError):
                self.type(text)
            until = time.monotonic() + 2
            while self._read(until):
                pass
            if self._process.poll() is not None:
                return

    def end(self, seconds: float = 120) -> int:
        """Read to the end; the exit status."""
        give_up = time.monotonic() + seconds
        while self._read(give_up):
            pass
        os.close(self._master)
        return self._process.wait(10)

    def hang_up(self) -> None:
        """Close the terminal, whatever still runs on it."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait(10)
            os.close(self._master)

    def _read(self, give_up: float) -> bool:
        left = max(0, give_up - time.monotonic())
        if not select.select([self._master], [], [], left)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: nobody is left on the other side
            return False
        self.text += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # What runs in the background ignores Ctrl-C, and hands that down.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def terminal(home: Home) -> Iterator[Callable[..., Terminal]]:
    """`terminal("status", columns=80)` runs the installed command on a terminal."""
    started = []

    def start(*arguments: str, columns: int = 80, **environment: str) -> Terminal:
        env = {
            "HOME": str(home.root),
            "PATH": "/usr/bin:/bin",
            "TERM": "xterm",
            "MAEJOBS_HOME": str(home.root),
            **environment,
        }
        started.append(Terminal([str(MAEJOBS), *arguments], env, columns))
        return started[-1]

    yield start
    for screen in started:
        screen.hang_up()


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    """`script("echo hello")` makes an executable of it, such as an editor; its path."""

    def make(text: str) -> str:
        path = tmp_path / f"script-{len(list(tmp_path.glob('script-*')))}"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return make
