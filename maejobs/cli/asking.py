"""Asking before something is changed: on a terminal only, and never in a pipe."""

import sys

import click

from maejobs.errors import UserError


def agreed(question: str) -> bool:
    """Whether the user says yes. Raises UserError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise UserError("nobody to ask whether to make this change; look at it, then give --yes")
    try:
        return click.confirm(question, default=False)
    except click.Abort:
        click.echo()
        return False
