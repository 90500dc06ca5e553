"""A job file written for a command line that came from elsewhere: what is read back is the same."""

import json
from collections.abc import Mapping, Sequence


def render_job(
    summary: str,
    command: Sequence[str],
    schedule: str | None,
    env: Mapping[str, str],
    remarks: Sequence[str] = (),
) -> str:
    """The text of a job file. `command` and `env` are taken as they are: no word in braces expands.

    `remarks`, of printable characters, stand above as comments. Texts are Unicode without NUL.
    """
    lines = [f"# {remark}".rstrip() for remark in remarks]
    lines += [f"summary = {_string(summary)}"]
    lines += [f"schedule = {_string(schedule)}"] if schedule is not None else []
    lines += ["command = ["]
    lines += [f"    {_string(_escape(word))}," for word in command]
    lines += ["]"]
    if env:
        lines += ["", "[env]"]
        lines += [f"{name} = {_string(_escape(value))}" for name, value in env.items()]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _string(text: str) -> str:
    """`text` as a TOML string: in single quotes, where nothing is escaped, if that is plainer."""
    if ("\\" in text or '"' in text) and "'" not in text and text.isprintable():
        return f"'{text}'"
    # TOML takes JSON's escapes, and wants DEL escaped too.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
