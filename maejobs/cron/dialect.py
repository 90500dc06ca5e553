"""Which cron is meant: they differ in what they take, in the day rule and over clock jumps."""

from enum import StrEnum
from functools import cache
from pathlib import Path

from maejobs.errors import UserError
from maejobs.home import Home

PATIENCE_SECONDS = 5.0


class Dialect(StrEnum):
    """A cron's grammar; `PORTABLE` is what all of them take and mean alike."""

    DEBIAN = "debian"
    CRONIE = "cronie"
    BUSYBOX = "busybox"
    PORTABLE = "portable"


def dialect_of(home: Home) -> Dialect:
    """The dialect of whoever reads the home's crontab, unless its `maejobs.toml` names one.

    That is the host's cron, or for a file our own daemon, which reads as Debian's does. Raises
    UserError for a name that is none.
    """
    if home.configured_dialect is not None:
        try:
            return Dialect(home.configured_dialect)
        except ValueError:
            told = f"dialect = {home.configured_dialect!r} is none of {', '.join(Dialect)}"
            raise UserError(f"{home.config_file}: {told}") from None
    return Dialect.DEBIAN if home.crontab.startswith("/") else host_dialect()


@cache
def host_dialect() -> Dialect:
    """The dialect of the host's `crontab`; Debian's where there is none, or it does not answer.

    Never raises and never writes: busybox is known by where its link leads, and `-V` names cronie;
    the others fail on it. (`-n`, Debian's check, would set the cluster's host name on cronie.)
    """
    import shutil
    import subprocess

    found = shutil.which("crontab")
    if found is None:
        return Dialect.DEBIAN
    try:
        if Path(found).resolve().name.startswith("busybox"):
            return Dialect.BUSYBOX
        done = subprocess.run(
            [found, "-V"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE_SECONDS,
        )
    except (OSError, RuntimeError, subprocess.SubprocessError):
        return Dialect.DEBIAN
    if done.returncode == 0 and b"cronie" in done.stdout:
        return Dialect.CRONIE
    return Dialect.DEBIAN
