"""Configs as users write them: presets, TOML files, words of the command, and what is wrong."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mae.config import Config, Section
from mae.errors import BadInput, nearest

Kind = TypeVar("Kind", bound=Section)
PRESETS = Path(__file__).with_name("presets")
# What the command calls some keys.
OPTIONS = {"--data": "data.source", "--steps": "recipe.steps", "--seed": "recipe.seed"}


def presets() -> dict[str, str]:
    """The presets that ship with mae: name to summary, the file's first comment."""
    files = sorted(PRESETS.glob("*.toml"))
    return {f.stem: first_comment(f) for f in files}


def first_comment(file: Path) -> str:
    """What a shipped file says of itself in its first line."""
    return file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def read_config(
    name: str, settings: tuple[str, ...] = (), options: Mapping[str, Any] | None = None
) -> Config:
    """The config in a preset or TOML file, with "section.key=value" settings on top.

    `options` are the command's own words for some keys, see OPTIONS; they come last, and None
    means not given. Raises BadInput for anything unknown, malformed or out of range; it names the
    place: the file, or what was set on the command line.
    """
    path, told = read_tables(name)
    return settle(told, str(path), settings, options)


def read_tables(name: str) -> tuple[Path, dict[str, Any]]:
    """Where a preset's or file's TOML lies, and its tables, not checked yet."""
    path = PRESETS / f"{name}.toml" if name in presets() else Path(name)
    return path, read_toml(path, name, presets())


def _whose(path: Path) -> str:
    """Who may read a file, as far as that can be seen: root, say, who was here once."""
    try:
        return f"it belongs to {path.owner()}, who can give it to you (`chown`)"
    except (OSError, KeyError):
        return "let its directory be read"


def read_toml(path: Path, name: str, shipped: Mapping[str, str]) -> dict[str, Any]:
    """The tables in a file; `name` is what the user called it, `shipped` what could have been."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows' editors begin with a mark
    except PermissionError as error:
        raise BadInput(f"config {name!r}: {error.strerror}; {_whose(path)}") from None
    except OSError as error:
        raise BadInput(
            f"config {name!r}: {error.strerror}{nearest(name, shipped)}; "
            f"name a TOML file or one of: {', '.join(shipped)}"
        ) from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits
        raise BadInput(f"{path}: not TOML: {error}") from None


def settle(
    told: dict[str, Any],
    file: str,
    settings: tuple[str, ...] = (),
    options: Mapping[str, Any] | None = None,
) -> Config:
    """The config that tables from `file` mean, with settings and options as in `read_config`."""
    given = {OPTIONS[o]: (o, value) for o, value in (options or {}).items() if value is not None}
    return settle_as(Config, told, file, settings, given)


def settle_as(
    kind: type[Kind],
    told: dict[str, Any],
    file: str,
    settings: tuple[str, ...],
    options: Mapping[str, tuple[str, Any]] | None = None,
    example: str = "recipe.epochs=30",
) -> Kind:
    """What tables from `file` mean, with "section.key=value" settings on top, and then options.

    Those are by key: what the command calls it, and the value. Raises BadInput naming the place of
    what is wrong.
    """
    places = {}  # which words of the command line set a key
    for setting in settings:
        key, value = parse_setting(setting, example)
        put(told, key, value)
        places[key] = f"--set {key}"
    for key, (option, value) in (options or {}).items():
        put(told, key, value)
        places[key] = option
    try:
        return kind.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        message = words_of(first)
        where = _place(kind, first["loc"], message, told, file, places)
        if first["type"] == "extra_forbidden":
            raise BadInput(f"{where}: unknown key{_hint(kind, first['loc'])}") from None
        given = "" if isinstance(first["input"], dict | BaseModel) else f", not {first['input']!r}"
        raise BadInput(f"{where}: {message}{given}") from None


def dump(config: Config) -> str:
    """The config as TOML; `read_config` gives the same one back."""
    lines: list[str] = []
    for section, values in config.model_dump(mode="json", exclude_none=True).items():
        lines += [f"[{section}]", *(f"{k} = {_toml(v)}" for k, v in values.items()), ""]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    # JSON's strings, numbers, booleans and arrays are TOML's as well, but for a raw DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def parse_setting(setting: str, example: str) -> tuple[str, Any]:
    """Key and value of "section.key=value"; what is no TOML is a string."""
    key, equals, text = setting.partition("=")
    section, dot, name = key.strip().partition(".")
    if not equals or not dot:
        raise BadInput(f"--set {setting}: write it as section.key=value, e.g. {example}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    return f"{section}.{name}", value


def put(told: dict[str, Any], key: str, value: Any) -> None:
    """Set "section.key" in nested tables."""
    section, _, name = key.partition(".")
    table = told.setdefault(section, {})
    if isinstance(table, dict):  # else the file is wrong, and is told so
        table[name] = value


def words_of(error: ErrorDetails) -> str:
    """What is wrong with a value: of pydantic's words those that are not Python's."""
    in_list = isinstance(error["input"], list)
    if error["type"] == "tuple_type":
        return "should be a list as TOML has it, e.g. [0.5, 1.0]"
    if error["type"] == "too_long" or (error["type"] == "missing" and in_list):
        return "should be two numbers, e.g. [0.5, 1.0]"
    return error["msg"].removeprefix("Value error, ")


def _place(
    kind: type[Section],
    location: tuple[int | str, ...],
    message: str,
    told: dict[str, Any],
    file: str,
    places: dict[str, str],
) -> str:
    """Where the user wrote what is wrong.

    1. The words of the command line that set the key, or all there is of an unknown section.
    2. Else the file, with the key, and with the settings that the message names: where keys do not
       fit together, some may be the file's and others the command line's.
    """
    parts = [str(part) for part in location]
    if len(parts) > 1:
        keys = [".".join(parts[:2])]
    else:
        known = not parts or parts[0] in kind.model_fields
        table = {} if known else told[parts[0]]
        keys = [f"{parts[0]}.{name}" for name in table] if isinstance(table, dict) else []
    if keys and all(key in places for key in keys):
        return places[keys[0]]
    words = re.findall(r"\w+", message)
    named = [place for key, place in places.items() if key.partition(".")[2] in words]
    if len(parts) < 2 and named:
        file += f" with {', '.join(named)}"
    return ": ".join([file, ".".join(parts)] if parts else [file])


def _hint(kind: type[Section], location: tuple[int | str, ...]) -> str:
    section, *rest = (str(part) for part in location)
    if not rest:
        return nearest(section, kind.model_fields)
    return nearest(rest[0], getattr(kind.model_fields[section].annotation, "model_fields", ()))
