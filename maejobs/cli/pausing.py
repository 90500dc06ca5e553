"""`maejobs pause` and `resume`: nights on which a job stays quiet, its crontab line unchanged."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from maejobs import clock
from maejobs.cli.options import (
    PATIENCE_SECONDS,
    HomeCommand,
    dry_run_option,
    existing_home,
    job_argument,
)
from maejobs.cli.text import visible
from maejobs.errors import MaejobsError
from maejobs.files import make_private_directory, write_atomically
from maejobs.home import Home


@click.command("pause", cls=HomeCommand)
@job_argument
@click.option(
    "--reason", default="", help="Shown by `status`, and kept with each slot that is skipped."
)
@dry_run_option
def pause_command(job: str, reason: str, dry_run: bool) -> None:
    """Keep JOB from starting until `resume`.

    Its slots are recorded as skipped. A run that is under way goes on. The crontab is not touched.
    A second `pause` with a --reason changes the reason.

    \b
    Example:
      maejobs pause pretrain --reason "GPU lent to Anna until Friday"
    """
    from maejobs.jobs.load import job_names, load_job

    home = existing_home()
    # A file with an error may be paused: that is a good moment to mend it.
    if job not in job_names(home.jobs_dir):
        load_job(home.jobs_dir, job)
    file = home.pause_file(job)
    if (paused := file.exists()) and not reason:
        click.echo(f"{job} is paused already; `maejobs resume {job}` lets it run again")
        return
    if dry_run:
        click.echo(f"would change why {job} is paused" if paused else f"would pause {job}")
        return
    now = clock.now()
    since = read_pause(file).get("since", now.isoformat()) if paused else now.isoformat()
    make_private_directory(file.parent)
    write_atomically(file, json.dumps({"since": since, "reason": reason}).encode())
    if paused:
        click.echo(f"{job} stays paused: {visible(reason)}")
        return
    _note(home, job, paused_since=now)
    click.echo(f"paused {job}; `maejobs resume {job}` lets it run again")


@click.command("resume", cls=HomeCommand)
@job_argument
@dry_run_option
def resume_command(job: str, dry_run: bool) -> None:
    """Let a paused JOB run again, from its next slot on.

    \b
    Example:
      maejobs resume pretrain
    """
    from maejobs.jobs.load import load_job
    from maejobs.jobs.model import JOB_NAME

    home = existing_home()
    if not JOB_NAME.fullmatch(job):
        load_job(home.jobs_dir, job)  # says what a job name is
    file = home.pause_file(job)
    if not file.exists():
        load_job(home.jobs_dir, job)
        click.echo(f"{job} is not paused")
        return
    if dry_run:
        click.echo(f"would resume {job}")
        return
    file.unlink(missing_ok=True)
    _note(home, job, paused_since=None)
    click.echo(f"resumed {job}")


def paused_of(home: Home, jobs: Iterable[str]) -> list[str]:
    """Those of the jobs whose slots are skipped, sorted."""
    return sorted({job for job in jobs if home.pause_file(job).exists()})


def tell_paused(paused: Sequence[str]) -> None:
    """Say that what is shown of these jobs will not be."""
    if paused:
        click.echo(f"on pause, and so skipped until `maejobs resume`: {', '.join(paused)}")


def read_pause(file: Path) -> dict[str, str]:
    """What a pause's file says: `since`, `reason`. A file that says nothing is still a pause."""
    try:
        said = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    said = said if isinstance(said, dict) else {}
    return {key: value for key, value in said.items() if value and isinstance(value, str)}


def _note(home: Home, job: str, **values: object) -> None:
    from maejobs.rundb.database import open_database
    from maejobs.rundb.record import set_job

    try:
        with open_database(home, PATIENCE_SECONDS) as engine:
            set_job(engine, job, **values)
    except MaejobsError as error:
        click.echo(f"maejobs: done, but not noted in the database: {visible(str(error))}", err=True)
