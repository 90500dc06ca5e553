"""The commands the daemon has started: begun as cron begins them, reaped, and stopped."""

import os
import pwd
import subprocess
from contextlib import suppress
from pathlib import Path

from maejobs.daemon.entries import Account, Entry, environment_of
from maejobs.errors import UserError

UMASK = 0o022


class Children:
    """What runs, by process id."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[subprocess.Popen[bytes], Entry]] = {}

    def start(self, entry: Entry, user: str | None, zone: str | None) -> int:
        """Start the entry's command as `user` (None: ourselves); gives its process id.

        Raises OSError where it cannot be started, UserError for a user we cannot become.
        """
        account, identity = _account(user)
        environment = environment_of(entry, account, zone)
        shell, home = environment["SHELL"], environment["HOME"]
        if "/" not in shell:
            raise UserError(f"SHELL={shell} is no path, and cron does not look for it")
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [os.fsencode(word) for word in (shell, "-c", entry.command)],
            stdin=subprocess.PIPE,
            cwd=os.fsencode(home) if Path(home).is_dir() else "/",  # cron starts it all the same
            env={os.fsencode(n): os.fsencode(v) for n, v in environment.items()},
            start_new_session=True,
            umask=UMASK,
            **identity,  # type: ignore[call-overload]
        )
        self._running[process.pid] = (process, entry)
        assert process.stdin is not None
        # A command is under 1000 bytes, so that its input fits into the pipe at once.
        with suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(os.fsencode(entry.stdin or ""))
        return process.pid

    def reap(self) -> list[tuple[int, int, Entry]]:
        """Those that ended since: process id, exit status (negative: signal), entry.

        Reaps whatever child there is, as orphans come to us where we are process 1.
        """
        ended = []
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = found
                if pid in self._running:
                    process, entry = self._running.pop(pid)
                    process.returncode = os.waitstatus_to_exitcode(status)
                    ended.append((pid, process.returncode, entry))
        return ended

    def groups(self) -> set[int]:
        """The process group of each. Its shell may end before what it has started."""
        return set(self._running)


def _account(user: str | None) -> tuple[Account, dict[str, object]]:
    us = os.geteuid()
    try:
        found = pwd.getpwuid(us) if user is None else pwd.getpwnam(user)
    except KeyError:
        if user is not None:
            raise UserError(f"there is no user {user!a} on this host") from None
        return Account(str(us), os.environ.get("HOME", "/")), {}
    account = Account(found.pw_name, found.pw_dir)
    if found.pw_uid == us:
        return account, {}
    if us != 0:
        raise UserError(f"only root may start a job of {user}")
    groups = os.getgrouplist(found.pw_name, found.pw_gid)
    return account, {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": groups}
