"""Debian's cronie, unpacked beside this machine's cron with the C library it wants.

`install-system-packages` puts it there; nothing of it is installed, so that both can be tested.
"""

import os
from pathlib import Path

CRONIE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maejobs-tests/cronie"
LIBRARIES = [
    str(CRONIE / "usr/lib/x86_64-linux-gnu"),
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
]


def why_not_cronie() -> str | None:
    """Why cronie cannot be run here, or None."""
    if (CRONIE / "usr/sbin/crond").exists():
        return None
    return f"cronie is not in {CRONIE}; tests/install-system-packages unpacks it there"


def cronie(program: str, *arguments: str, preload: Path | None = None) -> list[str]:
    """The argv that runs one of its programs, "sbin/crond" or "bin/crontab"."""
    loader = [str(CRONIE / "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", ":".join(LIBRARIES)]
    if preload:
        loader += ["--preload", str(preload)]
    return [*loader, str(CRONIE / "usr" / program), *arguments]
