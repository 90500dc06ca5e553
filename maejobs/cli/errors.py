"""Turns what went wrong into one line on standard error and a stable exit code."""

import os
import sys

import click

from maejobs.errors import EXIT_FAILED, MaejobsError

EXIT_INTERRUPTED = 130


def report(command: click.Command) -> int:
    """Run the command on `sys.argv`; the exit code. `--debug` lets tracebacks through."""
    debug = "--debug" in sys.argv
    try:
        result = command.main(prog_name="maejobs", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("maejobs: stopped", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has gone; the interpreter must not complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MaejobsError as error:
        if debug:
            raise
        click.echo(f"maejobs: {error}", err=True)
        return error.exit_code
    except Exception as error:
        if debug:
            raise
        name = type(error).__name__
        click.echo(f"maejobs: internal error: {name}: {error} (--debug shows where)", err=True)
        return EXIT_FAILED
