"""Turns what went wrong into one line on standard error and a stable exit code."""

import os
import sys

import click

from maejobs.cli.streams import lost_output
from maejobs.errors import EXIT_FAILED, MaejobsError

PROGRAM = "maejobs"
COMPLETION_VARIABLE = "_MAEJOBS_COMPLETE"
EXIT_INTERRUPTED = 130


def report(command: click.Command) -> int:
    """Run the command on `sys.argv`; the exit code. `--debug` lets tracebacks through.

    Where its output cannot be written that is told, and the code is not 0.
    """
    code = _outcome(command)
    if why := lost_output():
        _tell(why)
        return code or EXIT_FAILED
    return code


def _outcome(command: click.Command) -> int:
    debug = "--debug" in sys.argv
    try:
        if COMPLETION_VARIABLE in os.environ:
            command.main(prog_name=PROGRAM)
        # Not `command.main`: it turns what goes wrong into words and codes of its own.
        with command.make_context(PROGRAM, sys.argv[1:]) as context:
            result = command.invoke(context)
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        place = error.ctx.command_path if error.ctx else "maejobs"
        _tell(f"{error.format_message().rstrip('.')}; see `{place} --help`")
        return error.exit_code
    except click.ClickException as error:
        _tell(error.format_message())
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        _tell("stopped", error)
        return EXIT_INTERRUPTED
    except click.exceptions.Exit as error:
        return error.exit_code
    except MaejobsError as error:
        if debug:
            raise
        _tell(str(error), error)
        return error.exit_code
    except OSError as error:
        # What the operating system refuses is seldom our mistake: a mode, a full disk, a mount.
        if debug:
            raise
        _tell(
            f"{error.filename}: {error.strerror}"
            if error.filename
            else error.strerror or str(error),
            error,
        )
        return EXIT_FAILED
    except Exception as error:
        if debug:
            raise
        _tell(f"internal error: {type(error).__name__}: {error} (--debug shows where)", error)
        return EXIT_FAILED


def _tell(text: str, error: BaseException | None = None) -> None:
    from maejobs.cli.text import visible

    notes = getattr(error, "__notes__", ())
    click.echo(f"maejobs: {visible(chr(10).join((text, *notes)))}", err=True)
