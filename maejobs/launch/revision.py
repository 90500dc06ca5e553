"""Which code runs here."""

import subprocess
from functools import cache
from pathlib import Path

from maejobs import __version__

PATIENCE_SECONDS = 5.0


@cache
def code_revision() -> str:
    """The version and, in a checkout, the commit: `0.1.0` or `0.1.0 4f2a91c07d3e`.

    `-dirty` behind it means that files differ from the commit.
    """
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    package = Path(__file__).resolve().parents[1]
    if not (package.parent / ".git").exists():
        return __version__
    try:
        done = subprocess.run(
            command,
            cwd=package,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return __version__
    return f"{__version__} {done.stdout.strip()}".strip()
