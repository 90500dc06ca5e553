"""`maejobs init` and `reconcile`: the home made, the record set straight."""

import os
from pathlib import Path

import click

from maejobs.cli.errors import PROGRAM
from maejobs.cli.options import (
    HomeCommand,
    current_home,
    dry_run_option,
    existing_home,
    json_option,
)
from maejobs.cli.text import visible
from maejobs.cron.block import exec_command
from maejobs.cron.schedule import RECONCILE
from maejobs.files import write_atomically
from maejobs.home import Home
from maejobs.shipped import shipped


@click.command("init", cls=HomeCommand)
@dry_run_option
def init_command(dry_run: bool) -> None:
    """Make the home, its job files and its database.

    Harmless where they exist: a job file of yours is never overwritten.

    \b
    Example:
      maejobs init
      maejobs init --home /data/maejobs
    """
    home = current_home()
    # Said now: no line of a crontab could name the home, and so no job be scheduled.
    exec_command(Path(PROGRAM), RECONCILE, home.root)
    missing = _missing_jobs(home)
    if dry_run:
        jobs = ", ".join(path.stem for path in missing)
        click.echo(f"{home.root} {'is there' if home.exists else 'would be made'}")
        click.echo(f"jobs: {f'would add {jobs}' if jobs else 'all there already'}")
        return
    from maejobs.rundb.database import place_of

    make_home(home)
    click.echo(f"home: {visible(str(home.root))}")
    click.echo(f"jobs: {', '.join(path.stem for path in missing) or 'all there already'}")
    click.echo(f"database: {place_of(home)}")


@click.command("reconcile", cls=HomeCommand)
@dry_run_option
@json_option
def reconcile_command(dry_run: bool, as_json: bool) -> None:
    """Set the record straight: lost and missed runs.

    Runs without a process are lost, slots without a run missed, or unknown where maejobs itself was
    not there. Records that could not reach the database are taken up, and runs started for jobs
    that catch up. Safe at any time; `maejobs watch install` has cron do it.

    \b
    Example:
      maejobs reconcile --dry-run
    """
    from dataclasses import asdict

    from maejobs.cli.output import print_json
    from maejobs.cli.zone import take_the_daemons_zone
    from maejobs.watch.reconcile import reconcile

    home = existing_home()
    take_the_daemons_zone(home)
    findings = asdict(reconcile(home, dry_run))
    if as_json:
        print_json(findings)
        return
    for what, runs in findings.items():
        for run in runs:
            click.echo(f"{'would be ' if dry_run else ''}{what.replace('_', ' ')}: {visible(run)}")
    if not any(findings.values()):
        click.echo("all is as recorded")


def make_home(home: Home) -> None:
    """Directories, the job files that are not there yet, and a database of this version."""
    from maejobs.rundb.migrate import upgrade, version_to_upgrade

    version_to_upgrade(home)  # or nothing is made
    missing = _missing_jobs(home)
    home.create_directories()
    for source in missing:
        write_atomically(home.jobs_dir / source.name, source.read_bytes())
    upgrade(home)


def _missing_jobs(home: Home) -> list[Path]:
    files = sorted(shipped("jobs.d").glob("*.toml"))
    # A link is yours even where its disk is not mounted.
    return [file for file in files if not os.path.lexists(home.jobs_dir / file.name)]
