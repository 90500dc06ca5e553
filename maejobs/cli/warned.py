"""Where warnings of the rooms below go while a command runs."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import click

from maejobs.cli.text import visible


class _Warnings(logging.Handler):
    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # nobody reads any more
            self._say(visible(record.getMessage()))


@contextmanager
def warned_by(say: Callable[[str], None]) -> Iterator[None]:
    """Within, each warning is told by `say`."""
    handler = _Warnings(say)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def on_stderr(text: str) -> None:
    """Say a line of ours."""
    click.echo(f"maejobs: {text}", err=True)
