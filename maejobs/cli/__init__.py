"""The command line: parses, calls, prints. Each command lives in a module that is loaded late.

`maejobs list` answers in a blink because this package imports nothing but click.
"""

import os
import sys

from maejobs.cli.app import cli
from maejobs.cli.errors import report
from maejobs.cli.streams import patient

__all__ = ["cli", "main"]


def main() -> None:
    """The installed command: runs `cli` and turns every outcome into an exit code."""
    # Closed by the caller (`>&-`): what is printed goes nowhere, and no file gets its number.
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr = patient(sys.stdout), patient(sys.stderr)
    sys.exit(report(cli))
