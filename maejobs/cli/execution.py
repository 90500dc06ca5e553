"""`maejobs run`, `retry` and `cancel`: runs, started by hand and stopped."""

import os
from typing import Any

import click

from maejobs import clock
from maejobs.cli.options import (
    HomeCommand,
    dry_run_option,
    existing_home,
    job_argument,
    json_option,
    looking_up,
    run_argument,
)
from maejobs.cli.text import visible
from maejobs.cli.warned import warned_by
from maejobs.errors import UserError
from maejobs.home import Home


@click.command("run", cls=HomeCommand)
@job_argument
@dry_run_option
@json_option
def run_command(job: str, dry_run: bool, as_json: bool) -> int:
    """Run JOB now, in the foreground, with a progress bar.

    Its output is shown as it comes, and recorded. Ctrl-C stops it in good order, a second Ctrl-C at
    once.

    \b
    Example:
      maejobs run evaluate
    """
    from maejobs.cli.startable import command_line

    home = existing_home()
    would_run = command_line(home, job)
    if dry_run:
        _say_would_run(home, job, would_run, as_json)
        return 0
    return _in_foreground(home, job, "manual", as_json=as_json)


@click.command("retry", cls=HomeCommand)
@run_argument
@dry_run_option
@json_option
def retry_command(run: str, dry_run: bool, as_json: bool) -> int:
    """Run the job of a run that ended badly once more.

    In the foreground, as `run` does; the new run names the old one.

    \b
    Example:
      maejobs retry pretrain-20261124T0200Z-1
    """
    from maejobs.cli.startable import command_line
    from maejobs.rundb.database import open_database
    from maejobs.rundb.queries import find_run
    from maejobs.rundb.run import SUCCEEDED, UNFINISHED, run_of
    from maejobs.supervise.cancel import awaits_retry

    home = existing_home()
    with open_database(home) as engine, looking_up(home, run):
        old = find_run(engine, run)
    if old.state in UNFINISHED | {SUCCEEDED}:
        raise UserError(
            f"{old.id} is {old.state}; only a run that ended badly can be retried "
            f"(`maejobs run {old.job}` runs it anew)"
        )
    # Or what succeeds now would be done once more.
    if old.supervisor_pid != os.getpid() and awaits_retry(run_of(old)):
        raise UserError(
            f"{old.id} may be tried again by itself; `maejobs cancel {old.id}` gives that up"
        )
    would_run = command_line(home, old.job)
    if dry_run:
        _say_would_run(home, old.job, would_run, as_json)
        return 0
    return _in_foreground(home, old.job, "retry", old, as_json)


@click.command("cancel", cls=HomeCommand)
@run_argument
@dry_run_option
def cancel_command(run: str, dry_run: bool) -> None:
    """Stop a run in good order.

    It gets TERM, its grace, then KILL. A job's name means its run under way.

    \b
    Example:
      maejobs cancel pretrain
    """
    from maejobs.cli.settled import settled
    from maejobs.launch.process import host_name
    from maejobs.privilege import caller
    from maejobs.rundb.run import UNFINISHED
    from maejobs.supervise.cancel import awaits_retry, find_record, stop_run
    from maejobs.watch.renamed import was_here

    home = existing_home()
    with looking_up(home, run):
        record = settled(home, find_record(home, run))
    if record.state not in UNFINISHED and not awaits_retry(record):
        raise UserError(f"{record.id} is not running: {record.state}")
    if dry_run:
        click.echo(f"would stop {visible(record.id)}")
    elif stop_run(record, f"`maejobs cancel`, called by {caller()}"):
        click.echo(f"told {visible(record.id)} to stop")
    elif record.host != host_name() and not was_here(home, record):
        raise UserError(
            f"{record.id} runs on {record.host}, whose processes cannot be seen from here"
        )
    else:
        raise UserError(f"{record.id} has no process on this host; `maejobs reconcile` settles it")


def _in_foreground(
    home: Home, job: str, trigger: str, old: Any = None, as_json: bool = False
) -> int:
    from maejobs.cli.foreground import Foreground
    from maejobs.cli.zone import take_the_daemons_zone
    from maejobs.supervise.execute import execute

    take_the_daemons_zone(home)
    with Foreground(quiet=as_json) as foreground, warned_by(foreground.say):
        verdict = execute(
            home,
            job,
            trigger,
            retry_of=old.id if old else None,
            watch=foreground.watch,
            attempt=old.attempt + 1 if old else 1,
            on_wait=foreground.say_waiting,
        )
    run = verdict.run
    if as_json:
        from dataclasses import asdict

        from maejobs.cli.output import print_json

        print_json(asdict(run))
    else:
        told = f" ({visible(run.reason)})" if run.reason else ""
        click.echo(f"{run.id}: {run.state}{told}")
    return verdict.exit_code


def _say_would_run(home: Home, job: str, command_line: str, as_json: bool) -> None:
    from maejobs.cli.output import local, print_json, relative
    from maejobs.cron.zone import zone_of_slots
    from maejobs.jobs.deadline import deadline_of
    from maejobs.jobs.load import load_job

    file, now = load_job(home.jobs_dir, job), clock.now()
    deadline = deadline_of(now, now, file.until, file.timeout, zone_of_slots(home))
    if as_json:
        told = {"job": job, "command": command_line, "deadline": deadline, "started": False}
        print_json(told)
    else:
        until = f" (until {local(deadline)}, {relative(deadline)})" if deadline else ""
        click.echo(f"would run {job}: {command_line}{until}")
