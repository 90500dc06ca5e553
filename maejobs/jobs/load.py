"""Reads `jobs.d/*.toml`; finds every error of a file at once, with its line and the nearest key."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from maejobs.errors import UserError, quoted
from maejobs.jobs.model import JOB_NAME, DiskRoom, GpuNeed, HostNeed, Job, Notify
from maejobs.jobs.secrets import is_secret
from maejobs.privilege import acting_as, owner_of
from maejobs.trust import read_trusted_text, refuse_untrusted

TABLES: dict[int | str, type[BaseModel]] = {
    "disk": DiskRoom,
    "gpu": GpuNeed,
    "host": HostNeed,
    "notify": Notify,
}


@dataclass(frozen=True)
class Problem:
    line: int  # 1-based
    text: str


class BadJobFile(UserError):
    """Everything that is wrong with one job file."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        self.path = path
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(f"{path}:{p.line}: {p.text}" for p in self.problems))


class NoJobFile(UserError):
    """There is no file of this name."""


def job_names(jobs_dir: Path) -> list[str]:
    """The names of the job files in `jobs_dir`, sorted; hidden and other files do not count."""
    return sorted(p.stem for p in jobs_dir.glob("*.toml") if not p.name.startswith("."))


def load_job(jobs_dir: Path, name: str) -> Job:
    """The job `name`, read as whose directory it is.

    Raises UserError: NoJobFile (nearest name given), one that others may write to, or BadJobFile.
    """
    path = jobs_dir / f"{name}.toml"
    if not JOB_NAME.fullmatch(name):
        place = f"{jobs_dir}: " if name in job_names(jobs_dir) else ""
        told = "is not a job name; use up to 64 lower-case letters, digits, - and _"
        raise UserError(f"{place}{quoted(name)} {told}")
    try:
        with acting_as(owner_of(jobs_dir)):
            refuse_untrusted(jobs_dir)
            text = read_trusted_text(path)
    except FileNotFoundError:
        raise NoJobFile(_no_such_job(jobs_dir, name)) from None
    except OSError as error:
        raise UserError(f"{jobs_dir}: cannot be read: {error.strerror}") from error
    return parse_job(path, name, text)


def parse_job(path: Path, name: str, text: str) -> Job:
    """The job that `text`, the content of `path`, describes. Raises BadJobFile."""
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise BadJobFile(path, [Problem(1, "brackets nested too deeply")]) from None
    except ValueError as error:  # TOMLDecodeError, or an integer of thousands of digits
        place = re.search(r"\(at line (\d+)", str(error))
        line = int(place[1]) if place else text.rstrip("\n").count("\n") + 1
        raise BadJobFile(path, [Problem(line, f"not TOML: {error}")]) from None
    problems = []
    if data.pop("name", None) is not None:
        line = line_of(text, ("name",))
        problems.append(Problem(line, "the file's name is the job's name; drop `name`"))
    try:
        job = Job.model_validate({**data, "name": name})
    except ValidationError as error:
        problems += [
            Problem(
                line_of(text, detail["loc"]), explain(detail, TABLES.get(detail["loc"][0], Job))
            )
            for detail in error.errors()
        ]
    if problems:
        raise BadJobFile(path, problems)
    return job


def line_of(text: str, location: Sequence[int | str]) -> int:
    """The 1-based line on which the key at `location` (`("disk", "free")`) stands, else 1.

    An item of a list is found on the line of its key; of a key that is missing, its table is.
    """
    keys = tuple(part for part in location if isinstance(part, str) and part != "[key]")
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, is_header, content in _statements(text):
        paths = list(_paths(content))
        for path in paths:
            lines.setdefault(path if is_header else table + path, number)
        if is_header:
            table = paths[-1]
    return next((lines[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in lines), 1)


def _statements(text: str) -> Iterator[tuple[int, bool, dict[str, Any]]]:
    """Each header and key of valid TOML by itself: its first line, which it is, what it holds.

    A statement is the fewest lines that are TOML of their own; the parser itself thus decides
    where a string or list of several lines ends.
    """
    statement = ""
    start = 1
    for number, line in enumerate(text.split("\n"), 1):
        statement += line + "\n"
        try:
            content = tomllib.loads(statement)
        except (tomllib.TOMLDecodeError, RecursionError):
            continue
        if content:
            yield start, statement.lstrip().startswith("["), content
        statement = ""
        start = number + 1


def _paths(content: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in content.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _paths(value, (*above, key))


def explain(detail: Any, model: type[BaseModel]) -> str:
    """What is wrong, by one of pydantic's `errors()`, with a table that is to be a `model`."""
    location = [part for part in detail["loc"] if part != "[key]"]
    named = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    place = quoted(named.lstrip("."))[1:-1]  # a key may hold line breaks
    kind, context = detail["type"], detail.get("ctx", {})
    if location[0] == "env" and detail["loc"][-1] != "[key]" and is_secret(str(location[-1])):
        # What is wrong with a job file stands in the record, and goes out with an alert.
        told = "its value, not shown, must be a text without NUL; write {{ and }} for braces"
        return f"{place}: {told}"
    if kind == "extra_forbidden":
        known = [key for key in model.model_fields if key != "name"]
        near = get_close_matches(str(location[-1]), known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key {place}; {hint}"
    if kind == "missing":
        return f"{place} is missing"
    if kind == "value_error":
        return f"{place}: {context['error']}"
    found = quoted(detail["input"])
    if kind == "literal_error":
        return f"{place}: {found} is none of {context['expected']}"
    return f"{place}: {detail['msg'][0].lower()}{detail['msg'][1:]}, not {found}"


def _no_such_job(jobs_dir: Path, name: str) -> str:
    known = job_names(jobs_dir)
    if not known:
        return f"no job {name!r}: {jobs_dir} holds no job files; `maejobs init` puts ours there"
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"jobs there: {', '.join(known)}"
    return f"no job {name!r} in {jobs_dir}; {hint}"
