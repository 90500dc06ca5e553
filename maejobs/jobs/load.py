"""Reads `jobs.d/*.toml`; finds every error of a file at once, with its line and the nearest key."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from maejobs.errors import UserError
from maejobs.jobs.model import JOB_NAME, DiskRoom, Job

_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"""\s*(["']?)([^"'=\s]+)\1\s*=""")


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


def job_names(jobs_dir: Path) -> list[str]:
    """The names of the job files in `jobs_dir`, sorted; hidden and other files do not count."""
    return sorted(p.stem for p in jobs_dir.glob("*.toml") if not p.name.startswith("."))


def load_job(jobs_dir: Path, name: str) -> Job:
    """The job `name`. Raises UserError: no such file (nearest name given), or BadJobFile."""
    path = jobs_dir / f"{name}.toml"
    if not JOB_NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is not a job name; use up to 64 lower-case letters, digits, - and _"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(_no_such_job(jobs_dir, name)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    return parse_job(path, name, text)


def parse_job(path: Path, name: str, text: str) -> Job:
    """The job that `text`, the content of `path`, describes. Raises BadJobFile."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+)", str(error))
        line = int(place[1]) if place else text.count("\n") + 1
        raise BadJobFile(path, [Problem(line, f"not TOML: {error}")]) from None
    if "name" in data:
        line = line_of(text, ("name",))
        raise BadJobFile(path, [Problem(line, "the file's name is the job's name; drop `name`")])
    try:
        return Job.model_validate({**data, "name": name})
    except ValidationError as error:
        problems = [
            Problem(line_of(text, detail["loc"]), _explain(detail)) for detail in error.errors()
        ]
        raise BadJobFile(path, problems) from None


def line_of(text: str, location: Sequence[int | str]) -> int:
    """The 1-based line on which the key at `location` (`("disk", "free")`) stands, else 1.

    An item of a list is found on the line of its key; an inline table's key on the table's line.
    """
    keys = [part for part in location if isinstance(part, str) and part != "[key]"]
    best, best_depth = 1, 0
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if match := _HEADER.match(line):
            here = table = [part.strip(" \"'") for part in match[1].split(".")]
        elif match := _KEY.match(line):
            here = table + match[2].split(".")
        else:
            continue
        if here == keys[: len(here)] and len(here) > best_depth:
            best, best_depth = number, len(here)
    return best


def _explain(detail: Any) -> str:
    location = [part for part in detail["loc"] if part != "[key]"]
    place = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in location
    ).lstrip(".")
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        model: type[BaseModel] = DiskRoom if location[0] == "disk" else Job
        known = [key for key in model.model_fields if key != "name"]
        near = get_close_matches(str(location[-1]), known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key {place}; {hint}"
    if kind == "missing":
        return f"{place} is missing"
    if kind == "value_error":
        return f"{place}: {context['error']}"
    if kind == "literal_error":
        return f"{place}: {detail['input']!r} is none of {context['expected']}"
    return f"{place}: {detail['msg'][0].lower()}{detail['msg'][1:]}, not {detail['input']!r}"


def _no_such_job(jobs_dir: Path, name: str) -> str:
    known = job_names(jobs_dir)
    if not known:
        return f"no job {name!r}: {jobs_dir} holds no job files; `maejobs init` puts ours there"
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"jobs there: {', '.join(known)}"
    return f"no job {name!r} in {jobs_dir}; {hint}"
