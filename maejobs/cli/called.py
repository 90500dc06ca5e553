"""`maejobs exec`: what cron calls."""

import logging
from datetime import UTC, datetime

import click

from maejobs import clock
from maejobs.cli.options import (
    HomeCommand,
    become_owner_of,
    dry_run_option,
    existing_home,
    job_argument,
)
from maejobs.cli.text import visible
from maejobs.cli.warned import on_stderr, warned_by
from maejobs.errors import MaejobsError, UserError
from maejobs.home import BadSettings, Home

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
    from maejobs.jobs.load import job_names
    from maejobs.supervise.execute import execute

    try:
        home = existing_home()
    except BadSettings as error:
        if not dry_run and job == RECONCILE:
            from maejobs.cli.unattended import refuse_for_cron

            return refuse_for_cron(error)
        become_owner_of(error.home.root)
        if dry_run or job not in job_names(error.home.jobs_dir):
            raise
        home = error.home  # a night is worth more than a key; the recorder says what is the matter
    if job == PROBE:
        answer(home)
        return 0
    if job == RECONCILE:
        from maejobs.cli.unattended import reconcile_for_cron

        return reconcile_for_cron(home, dry_run)
    click.get_current_context().with_resource(warned_by(on_stderr))
    take_the_daemons_zone(home)
    _refuse_unknown(home, job)
    trigger, slot = _called_for(home, job, slot_text)
    if dry_run:
        from maejobs.cli.output import local
        from maejobs.cli.startable import command_line

        zone = zone_of_slots(home)
        click.echo(f"would run {job} for the slot {local(slot, zone)}: {command_line(home, job)}")
        tell_zone(zone, [slot])
        return 0
    verdict = execute(home, job, trigger, slot)
    _tidy(home)
    run = verdict.run
    if verdict.exit_code and run.reason != "paused":  # or cron would mail what was meant to be
        told = f" ({visible(run.reason)})" if run.reason else ""
        click.echo(f"maejobs: {run.id}: {run.state}{told}; see `maejobs logs {run.id}`", err=True)
    return verdict.exit_code


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


def _called_for(home: Home, job: str, slot_text: str | None) -> tuple[str, datetime]:
    """The run's trigger and its slot. Raises UserError."""
    from maejobs.cron.zone import zone_of_slots
    from maejobs.rundb.run import CATCH_UP
    from maejobs.supervise.slot import scheduled_expressions, slot_of

    if slot_text is not None:
        return CATCH_UP, _past_slot(slot_text)
    return "cron", slot_of(clock.now(), scheduled_expressions(home, job), zone_of_slots(home))


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
    if home.unreadable:
        return
    from maejobs.watch.reconcile import reconcile

    try:
        reconcile(home, busy_timeout=TIDY_PATIENCE_SECONDS, catch_up=False)
    except Exception as error:  # whatever it is, the run's own verdict stands
        logging.getLogger(__name__).debug("not reconciled: %s", error)
