"""The command line: parses, calls, prints. Each command lives in a module that is loaded late.

`maejobs list` answers in a blink because this package imports nothing but click.
"""

import sys
from io import TextIOWrapper

from maejobs.cli.app import cli
from maejobs.cli.errors import report

__all__ = ["cli", "main"]


def main() -> None:
    """The installed command: runs `cli` and turns every outcome into an exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A path or a word of ours that the terminal's encoding lacks is shown escaped.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(report(cli))
