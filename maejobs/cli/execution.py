"""`maejobs exec`, `run`, `retry` and `cancel`: runs, started and stopped."""

import logging
from datetime import UTC, datetime
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
from maejobs.cli.warned import on_stderr, warned_by
from maejobs.errors import MaejobsError, UserError
from maejobs.home import Home

TIDY_PATIENCE_SECONDS = 2.0


@click.command("exec", cls=HomeCommand)
@job_argument
@click.option(
    "--slot",
    "slot_text",
    metavar="TIME",
    help="Make up for this slot, which nobody started, such as 20260301T0200Z.",
)
@dry_run_option
def exec_command(job: str, slot_text: str | None, dry_run: bool) -> int:
    """What cron calls: run JOB for the slot that is due.

    It is quiet where all is well or the job is paused, and leaves a record whatever happens. Exit
    code 0: done. 1: the job failed. 2: bad job file. 75: not now (paused, still running, slot done
    already).

    \b
    Example:
      maejobs exec pretrain
    """
    from maejobs.cli.probe import answer
    from maejobs.cli.zone import take_the_daemons_zone, tell_zone
    from maejobs.cron.schedule import PROBE, RECONCILE
    from maejobs.cron.zone import zone_of_slots
    from maejobs.rundb.run import CATCH_UP
    from maejobs.supervise.execute import execute
    from maejobs.supervise.slot import scheduled_expressions, slot_of

    home = existing_home()
    if job == PROBE:
        answer(home)
        return 0
    if job == RECONCILE:
        from maejobs.cli.unattended import reconcile_for_cron

        return reconcile_for_cron(home, dry_run)
    click.get_current_context().with_resource(warned_by(on_stderr))
    take_the_daemons_zone(home)
    _refuse_unknown(home, job)
    if slot_text is None:
        trigger = "cron"
        slot = slot_of(clock.now(), scheduled_expressions(home, job), zone_of_slots(home))
    else:
        trigger, slot = CATCH_UP, _past_slot(slot_text)
    if dry_run:
        from maejobs.cli.output import local

        zone = zone_of_slots(home)
        click.echo(f"would run {job} for the slot {local(slot, zone)}: {_command_line(home, job)}")
        tell_zone(zone, [slot])
        return 0
    verdict = execute(home, job, trigger, slot)
    _tidy(home)
    run = verdict.run
    if verdict.exit_code and run.reason != "paused":  # or cron would mail what was meant to be
        told = f" ({visible(run.reason)})" if run.reason else ""
        click.echo(f"maejobs: {run.id}: {run.state}{told}; see `maejobs logs {run.id}`", err=True)
    return verdict.exit_code


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
    home = existing_home()
    command_line = _command_line(home, job)
    if dry_run:
        _say_would_run(job, command_line, as_json)
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
    from maejobs.rundb.database import open_database
    from maejobs.rundb.queries import find_run
    from maejobs.rundb.run import SUCCEEDED, UNFINISHED

    home = existing_home()
    with open_database(home) as engine, looking_up(home, run):
        old = find_run(engine, run)
    if old.state in UNFINISHED | {SUCCEEDED}:
        raise UserError(
            f"{old.id} is {old.state}; only a run that ended badly can be retried "
            f"(`maejobs run {old.job}` runs it anew)"
        )
    command_line = _command_line(home, old.job)
    if dry_run:
        _say_would_run(old.job, command_line, as_json)
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
    from maejobs.privilege import caller
    from maejobs.rundb.run import UNFINISHED
    from maejobs.supervise.cancel import awaits_retry, find_record, stop_run

    home = existing_home()
    with looking_up(home, run):
        record = find_record(home, run)
    if record.state not in UNFINISHED and not awaits_retry(record):
        raise UserError(f"{record.id} is not running: {record.state}")
    if dry_run:
        click.echo(f"would stop {visible(record.id)}")
    elif stop_run(record, f"`maejobs cancel`, called by {caller()}"):
        click.echo(f"told {visible(record.id)} to stop")
    else:
        raise UserError(f"{record.id} has no process on this host; `maejobs reconcile` settles it")


def _refuse_unknown(home: Home, job: str) -> None:
    """Raises UserError for a job that has neither a file nor an entry: a slip of the fingers.

    One that the crontab has, or may have, is recorded as failed: its file has vanished.
    """
    from maejobs.cron.schedule import entries_of
    from maejobs.cron.target import open_target
    from maejobs.jobs.load import job_names, load_job

    if job in job_names(home.jobs_dir):
        return
    try:
        entries = entries_of(open_target(home.crontab).read(), home)
    except MaejobsError:
        return
    if all(entry.job != job for entry in entries):
        load_job(home.jobs_dir, job)


def _past_slot(text: str) -> datetime:
    """The minute that `text` names, in UTC. Raises UserError."""
    try:
        slot = datetime.fromisoformat(text)
        if slot.tzinfo is None or slot.second or slot.microsecond:
            raise ValueError
        slot = slot.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UserError(f"--slot {text}: no minute; write it like 20260301T0200Z") from None
    if slot > clock.now():
        raise UserError(f"--slot {text}: it has not come yet")
    return slot


def _tidy(home: Home) -> None:
    """Set the record straight while we are here; trouble with that is `maejobs reconcile`'s."""
    from maejobs.watch.reconcile import reconcile

    try:
        reconcile(home, busy_timeout=TIDY_PATIENCE_SECONDS, catch_up=False)
    except Exception as error:  # whatever it is, the run's own verdict stands
        logging.getLogger(__name__).debug("not reconciled: %s", error)


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


def _command_line(home: Home, job: str) -> str:
    import shlex

    from maejobs.cli.startable import shown_command
    from maejobs.jobs.load import load_job

    return shlex.join(shown_command(home, load_job(home.jobs_dir, job)))


def _say_would_run(job: str, command_line: str, as_json: bool) -> None:
    if as_json:
        from maejobs.cli.output import print_json

        print_json({"job": job, "command": command_line, "started": False})
    else:
        click.echo(f"would run {job}: {command_line}")
