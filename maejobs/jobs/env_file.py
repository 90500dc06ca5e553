"""A job's `env_file`: lines `NAME=value`, each value taken as it stands. Nothing is expanded.

Our own, because others expand `$` or `\\n` in values, or take a `#` for a comment: a secret must
arrive as it was written. What is wrong is told without a word of what stands behind the `=`.
"""

from pathlib import Path

from maejobs.errors import UserError
from maejobs.jobs.model import VARIABLE, check_variable
from maejobs.trust import read_trusted

EXPORT = "export "
QUOTES = ("'", '"')


def read_env_file(path: Path) -> dict[str, str]:
    """The variables in the file at `path`, which nobody but us may read.

    Raises UserError with the place and the mend.
    """
    try:
        return parse_env_file(read_trusted(path, private=True).decode("utf-8"))
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8") from None
    except ValueError as error:
        raise UserError(f"{path}, {error}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def parse_env_file(text: str) -> dict[str, str]:
    """The variables that `text` sets.

    A line is blank, a comment behind `#`, or `NAME=value`, maybe with `export` before it. Blanks
    around the value do not count, nor does one pair of quotes around all of it. Raises ValueError
    with the line.
    """
    variables: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            try:
                name, value = _parse_line(line, variables)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
            variables[name] = value
    return variables


def _parse_line(line: str, before: dict[str, str]) -> tuple[str, str]:
    name, separator, value = line.removeprefix(EXPORT).partition("=")
    name, value = name.strip(), value.strip()
    if not (separator and VARIABLE.fullmatch(name)):
        raise ValueError("it is not NAME=value")  # and not shown: maybe the rest of a secret
    check_variable(name)
    if name in before:
        raise ValueError(f"{name} is set twice")
    if "\0" in value:
        raise ValueError(f"{name} holds a NUL, which cannot be passed to a program")
    if value.startswith(QUOTES):
        if len(value) < 2 or value[-1] != value[0]:
            raise ValueError(f"{name} begins with a quote, which must end it on the same line")
        value = value[1:-1]
    return name, value
