"""The words in braces that a job's command, environment and paths may hold."""

from collections.abc import Mapping
from difflib import get_close_matches
from string import Formatter

from maejobs.errors import quoted

PLACEHOLDERS = {
    "python": "the interpreter that runs maejobs",
    "maejobs": "the installed maejobs command",
    "home": "the home directory",
    "job": "the job's name",
    "run_id": "the run's name",
    "run_dir": "the run's own directory",
}


def check_placeholders(text: str) -> str:
    """`text` itself, if every placeholder in it is known and plain (`{home}`).

    Raises ValueError naming the word and the nearest known one. `{{` and `}}` stand for braces.
    """
    try:
        fields = [field for field in Formatter().parse(text) if field[1] is not None]
    except ValueError as error:
        raise ValueError(f"{quoted(text)}: {error}; write {{{{ and }}}} for braces") from error
    for _, name, format_spec, conversion in fields:
        if name not in PLACEHOLDERS or format_spec or conversion:
            near = get_close_matches(name or "", PLACEHOLDERS, 1) or sorted(PLACEHOLDERS)
            known = " or ".join(f"{{{word}}}" for word in near)
            raise ValueError(f"unknown placeholder {{{(name or '')[:100]}}}; known: {known}")
    return text


def expand(text: str, values: Mapping[str, str]) -> str:
    """`text` with its placeholders replaced. `check_placeholders` has seen it."""
    return text.format_map(values)
