"""Whether a job whose file is well-formed could start at night: its schedule, its program."""

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from maejobs.cron.dialect import dialect_of
from maejobs.cron.grammar import BadExpression, parse_expression
from maejobs.errors import UserError
from maejobs.home import Home
from maejobs.jobs.load import line_of, load_job
from maejobs.jobs.model import Job
from maejobs.jobs.placeholders import expand
from maejobs.jobs.secrets import hide, secrets_of
from maejobs.privilege import acting_as, owner_of
from maejobs.supervise.environment import (
    build_environment,
    placeholder_values,
    variables_from_file,
)

RUN_ID, RUN_DIR = "{run_id}", "{run_dir}"  # what only a run has stays in braces


def expanded_command(home: Home, job: Job) -> list[str]:
    """The job's command as it would be started, but for what only a run can tell."""
    values = _values(home, job)
    return [expand(word, values) for word in job.command]


def shown_command(home: Home, job: Job) -> list[str]:
    """The same without what is known to be secret, fit for a screen."""
    secrets = known_secrets(home, job)
    return [hide(word, secrets) for word in expanded_command(home, job)]


def command_line(home: Home, name: str) -> str:
    """The same of the job called so, as a shell would have it. Raises UserError."""
    return shlex.join(shown_command(home, load_job(home.jobs_dir, name)))


def known_secrets(home: Home, job: Job) -> list[str]:
    """The secret values in the job's file and environment, as far as they can be read now."""
    ping = [job.notify.ping] if job.notify.ping else []
    return [*secrets_of(_own_variables(home, job), _from_file(home, job)), *ping]


def variables_of(home: Home, job: Job) -> dict[str, str]:
    """What the job's `env_file`, as far as it can be read now, and its `env` set."""
    return _from_file(home, job) | _own_variables(home, job)


def environment_of(home: Home, job: Job, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment its command would have, called with `inherited`."""
    values, from_file = _values(home, job), _from_file(home, job)
    return build_environment(home, job, values, Path(RUN_DIR), None, inherited, from_file=from_file)


def _values(home: Home, job: Job) -> dict[str, str]:
    return placeholder_values(home, job, RUN_ID, Path(RUN_DIR))


def _own_variables(home: Home, job: Job) -> dict[str, str]:
    values = _values(home, job)
    return {name: expand(value, values) for name, value in job.env.items()}


def _from_file(home: Home, job: Job) -> dict[str, str]:
    with acting_as(owner_of(home.jobs_dir)):
        try:
            return variables_from_file(home, job, _values(home, job))
        except UserError:
            return {}


def problems_of(home: Home, job: Job) -> list[str]:
    """What would keep the job from starting, each with file and line."""
    path, secrets = home.jobs_dir / f"{job.name}.toml", known_secrets(home, job)
    with acting_as(owner_of(home.jobs_dir)):
        text = path.read_text(encoding="utf-8-sig")
        found = list(_problems(home, job))
    return [f"{path}:{line_of(text, (key,))}: {key}: {hide(why, secrets)}" for key, why in found]


def _problems(home: Home, job: Job) -> Iterator[tuple[str, str]]:
    if job.schedule is not None:
        try:
            parse_expression(job.schedule, dialect_of(home))
        except BadExpression as error:
            yield "schedule", f"bad {error.field or 'expression'}: {error.reason}"
    try:
        variables_from_file(home, job, _values(home, job))
    except UserError as error:
        yield "env_file", str(error)
    program = expanded_command(home, job)[0]
    if RUN_ID in program or RUN_DIR in program:
        return  # made by then, maybe
    environment = environment_of(home, job, os.environ)
    if "/" in program:
        file = Path(environment["HOME"], program)
        if not file.exists():
            yield "command", f"{program} cannot be started: there is no such file"
        elif file.is_dir() or not os.access(file, os.X_OK):
            yield "command", f"{program} cannot be started: it is not executable"
    elif shutil.which(program, path=environment["PATH"]) is None:
        where = f"it is not on the run's PATH, {environment['PATH']}"
        yield "command", f"{program} cannot be started: {where}"
