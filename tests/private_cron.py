"""The host's real `crontab` in a mount namespace of its own, out of reach of the machine's tables.

Bind-mounts a directory over /var/spool/cron, a tmpfs over /run (where the daemon's pid file lies),
an empty directory over /etc/cron.d, and a password file in which root's home is elsewhere and which
knows a `joe`; all for the one command that is run. Tables and homes stay in the directory from one
command to the next.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

PASSWD = Path("/etc/passwd")
SPOOL = "/var/spool/cron"
CRON_D = "/etc/cron.d"
# What is in the spool can be reached by every user, unlike pytest's directories.
HOMES = f"{SPOOL}/home"
JOE = 4242  # joe's user and group number
MOUNT = (
    f'mount --bind "$0/passwd" /etc/passwd && mount --bind "$0/cron.d" {CRON_D} && '
    f'mount --bind "$0" {SPOOL} && mount -t tmpfs tmpfs /run && '
)


@cache
def why_not() -> str | None:
    """Why no private crontab can be had here, or None."""
    if os.geteuid() != 0:
        return "a private crontab needs root, for its mount namespace"
    for tool in ("crontab", "unshare"):
        if shutil.which(tool) is None:
            return f"a private crontab needs `{tool}`, which is not installed"
    if not Path(CRON_D).is_dir():
        return f"a private crontab needs {CRON_D}, to put another in its place"
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", SPOOL]).returncode != 0:
        return "a private crontab needs a mount namespace, which this machine does not allow"
    return None


class PrivateCron:
    """Commands run here see `spool` as /var/spool/cron, and `spool/cron.d` as /etc/cron.d."""

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self._reach = ""
        tables = spool / "crontabs"
        tables.mkdir(parents=True)
        shutil.chown(tables, group="crontab")
        tables.chmod(0o1730)
        (spool / "cron.d").mkdir()
        self.homes = spool / "home"
        for user, number in (("root", 0), ("joe", JOE)):
            (self.homes / user).mkdir(parents=True, mode=0o755)
            os.chown(self.homes / user, number, number)
        users = [line for line in PASSWD.read_text().splitlines() if line[:5] != "root:"]
        (spool / "passwd").write_text(
            f"root:x:0:0:root:{HOMES}/root:/bin/sh\n"
            + "\n".join(users)
            # No password at all: there is no line for joe among the shadows.
            + f"\njoe:*:{JOE}:{JOE}:Joe:{HOMES}/joe:/bin/sh\n"
        )

    def command(self, *argv: str | Path) -> list[str]:
        """The argv that runs `argv` inside, for Popen."""
        script = f'{MOUNT}{self._reach} exec "$@"'
        return ["unshare", "-m", "sh", "-c", script, str(self.spool), *map(str, argv)]

    def let_everybody_run_maejobs(self) -> None:
        """From now on Python and this checkout can be reached, though they lie in closed folders.

        What else lies in these is not there.
        """
        for path in {Path(sys.base_prefix), Path(sys.prefix), Path(__file__).parents[1]}:
            closed = [p for p in reversed(path.parents) if not p.stat().st_mode & 0o001]
            if not closed:
                continue
            aside = f"/run/{path.name}-{len(self._reach)}"
            self._reach = (
                f"mkdir {aside} && mount --bind {path} {aside} && {self._reach}"
                f"{{ mountpoint -q {closed[0]} || mount -t tmpfs -o mode=755 tmpfs {closed[0]}; }}"
                f" && mkdir -p {path} && mount --bind {aside} {path} && "
            )

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
