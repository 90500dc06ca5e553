"""Whether a job whose file is well-formed could start at night: its schedule, its program."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from maejobs.cron.dialect import dialect_of
from maejobs.cron.grammar import BadExpression, parse_expression
from maejobs.home import Home
from maejobs.jobs.load import line_of
from maejobs.jobs.model import Job
from maejobs.jobs.placeholders import expand
from maejobs.supervise.environment import build_environment, placeholder_values

RUN_ID, RUN_DIR = "{run_id}", "{run_dir}"  # what only a run has stays in braces


def expanded_command(home: Home, job: Job) -> list[str]:
    """The job's command as it would be started, but for what only a run can tell."""
    values = placeholder_values(home, job, RUN_ID, Path(RUN_DIR))
    return [expand(word, values) for word in job.command]


def problems_of(home: Home, job: Job) -> list[str]:
    """What would keep the job from starting, each with file and line."""
    path = home.jobs_dir / f"{job.name}.toml"
    text = path.read_text(encoding="utf-8")
    return [f"{path}:{line_of(text, (key,))}: {key}: {why}" for key, why in _problems(home, job)]


def _problems(home: Home, job: Job) -> Iterator[tuple[str, str]]:
    if job.schedule is not None:
        try:
            parse_expression(job.schedule, dialect_of(home))
        except BadExpression as error:
            yield "schedule", f"bad {error.field or 'expression'}: {error.reason}"
    program = expanded_command(home, job)[0]
    if RUN_ID in program or RUN_DIR in program:
        return  # made by then, maybe
    values = placeholder_values(home, job, RUN_ID, Path(RUN_DIR))
    environment = build_environment(home, job, values, Path(RUN_DIR), None, os.environ)
    if "/" in program:
        file = Path(environment["HOME"], program)
        if not file.exists():
            yield "command", f"{program} cannot be started: there is no such file"
        elif file.is_dir() or not os.access(file, os.X_OK):
            yield "command", f"{program} cannot be started: it is not executable"
    elif shutil.which(program, path=environment["PATH"]) is None:
        where = f"it is not on the run's PATH, {environment['PATH']}"
        yield "command", f"{program} cannot be started: {where}"
