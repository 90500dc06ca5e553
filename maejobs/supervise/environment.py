"""The environment a command gets: built, not inherited, so that nights equal runs by hand."""

import os
import pwd
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from maejobs import clock
from maejobs.home import Home
from maejobs.jobs.env_file import read_env_file
from maejobs.jobs.model import Job
from maejobs.jobs.placeholders import expand
from maejobs.launch.gpus import Gpu, cuda_variables

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_ON = ("TZ", "LANG", "LC_ALL", "TMPDIR", clock.SHIFT_VARIABLE)


def placeholder_values(home: Home, job: Job, run_id: str, run_dir: Path) -> dict[str, str]:
    """What the words in braces of a job file stand for in this run."""
    return {
        "python": sys.executable,
        "maejobs": str(Path(sys.executable).parent / "maejobs"),
        "home": str(home.root),
        "job": job.name,
        "run_id": run_id,
        "run_dir": str(run_dir),
    }


def variables_from_file(home: Home, job: Job, values: Mapping[str, str]) -> dict[str, str]:
    """What the job's `env_file` sets, its path taken from the home; {} if it has none.

    Raises UserError with the mend: missing, open to others, or not made of NAME=value.
    """
    if job.env_file is None:
        return {}
    return read_env_file(home.root / expand(job.env_file, values))


def build_environment(
    home: Home,
    job: Job,
    values: Mapping[str, str],
    events: Path,
    deadline: datetime | None,
    inherited: Mapping[str, str],
    gpus: list[Gpu] | None = None,
    from_file: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The variables of a run: account, PATH with our interpreter first, the contract, the job's.

    `from_file` is what its `env_file` sets; its `env` goes before that.
    `gpus` are those it has been given; None: it asked for none.
    `deadline` is on maejobs's clock; the child is told real Unix seconds.
    """
    user, directory = _account()
    environment = {
        "HOME": inherited.get("HOME", directory),
        "LOGNAME": user,
        "USER": user,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
        "PYTHONUNBUFFERED": "1",
    }
    environment |= {name: inherited[name] for name in _PASSED_ON if name in inherited}
    environment |= from_file or {}
    environment |= {name: expand(value, values) for name, value in job.env.items()}
    environment |= {
        "MAEJOBS_HOME": str(home.root),
        "MAEJOBS_RUN_ID": values["run_id"],
        "MAEJOBS_RUN_DIR": values["run_dir"],
        "MAEJOBS_EVENTS": str(events),
    }
    if gpus is not None:
        environment |= cuda_variables(gpus)
    if deadline is not None:
        environment["MAEJOBS_DEADLINE"] = f"{(deadline - clock.shift()).timestamp():.3f}"
    return environment


def _account() -> tuple[str, str]:
    """Our name and home directory; in a container our number may have neither."""
    try:
        found = pwd.getpwuid(os.getuid())
    except KeyError:
        return str(os.getuid()), "/"
    return found.pw_name, found.pw_dir
