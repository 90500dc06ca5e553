"""The host's real `crontab` in a mount namespace of its own, out of reach of the machine's tables.

Bind-mounts a directory over /var/spool/cron and a tmpfs over /run (where the daemon's pid file
lies), for the one command that is run; tables stay in the directory from one command to the next.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

SPOOL = "/var/spool/cron"
MOUNT = f'mount --bind "$0" {SPOOL} && mount -t tmpfs tmpfs /run && exec "$@"'


@cache
def why_not() -> str | None:
    """Why no private crontab can be had here, or None."""
    if os.geteuid() != 0:
        return "a private crontab needs root, for its mount namespace"
    for tool in ("crontab", "unshare"):
        if shutil.which(tool) is None:
            return f"a private crontab needs `{tool}`, which is not installed"
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", SPOOL]).returncode != 0:
        return "a private crontab needs a mount namespace, which this machine does not allow"
    return None


class PrivateCron:
    """Commands run here see `spool` as /var/spool/cron."""

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        tables = spool / "crontabs"
        tables.mkdir(parents=True)
        shutil.chown(tables, group="crontab")
        tables.chmod(0o1730)

    def command(self, *argv: str | Path) -> list[str]:
        """The argv that runs `argv` inside, for Popen."""
        return ["unshare", "-m", "sh", "-c", MOUNT, str(self.spool), *map(str, argv)]

    def run(
        self,
        argv: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        input: bytes = b"",
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `argv` inside to its end; `env` adds to the environment."""
        return subprocess.run(
            self.command(*argv),
            env={**os.environ, **(env or {})},
            input=input,
            capture_output=True,
            timeout=timeout,
        )


@pytest.fixture
def private_cron(tmp_path: Path) -> PrivateCron:
    """A crontab spool for this test alone; skips, saying why, where there can be none."""
    if reason := why_not():
        pytest.skip(reason)
    return PrivateCron(tmp_path / "spool")
