"""`maejobs schedule` and `unschedule`: a job's lines in the crontab."""

import shutil
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import click

from maejobs import clock
from maejobs.cli.options import HomeCommand, current_home, dry_run_option, job_argument, json_option
from maejobs.cron.block import Entry, exec_command, read_entries, replace_entries
from maejobs.cron.grammar import Expression, parse_expression
from maejobs.cron.install import Change, change_table
from maejobs.cron.schedule import belongs_to
from maejobs.cron.target import open_target
from maejobs.errors import MaejobsError, UserError
from maejobs.home import Home

SHOWN_FIRES = 3
Build = Callable[[Sequence[Entry]], list[Entry]]


@click.command("schedule", cls=HomeCommand)
@job_argument
@click.argument("expression", required=False)
@click.option("--also", is_flag=True, help="Add a second entry for a job that has one.")
@dry_run_option
@json_option
def schedule_command(
    job: str, expression: str | None, also: bool, dry_run: bool, as_json: bool
) -> None:
    """Put JOB into the crontab, or change when it runs.

    EXPRESSION is cron's: five fields (minute, hour, day-of-month, month, day-of-week) or a
    nickname such as @daily. Without one, the job file's `schedule` is taken.

    \b
    Example:
      maejobs schedule pretrain "0 2 * * *"
      maejobs schedule evaluate "30 6 * * 1-5" --dry-run
    """
    from maejobs.jobs.load import load_job

    home = current_home()
    if not home.exists and not dry_run:
        from maejobs.cli.upkeep import make_home

        make_home(home)
        click.echo(f"made the home {home.root}", err=True)
    jobs_dir = home.jobs_dir if home.exists else _shipped_jobs()
    text = expression or load_job(jobs_dir, job).schedule
    load_job(jobs_dir, job)
    if text is None:
        raise UserError(
            f'{job} has no schedule of its own; give one: maejobs schedule {job} "0 2 * * *"'
        )
    parsed = parse_expression(text)
    named_home = None if home.is_default else home.root
    entry = Entry(job, parsed.text, exec_command(_executable(), job, named_home))
    before = _entries_of(home, job)
    change = _change(home, lambda entries: _with(entries, entry, home, also), dry_run)
    if not dry_run:
        _remember_schedule(home, job)
    if as_json:
        from maejobs.cli.output import print_json

        print_json(
            {
                "job": job,
                "expression": parsed.text,
                "before": [old.expression for old in before],
                "changed": not change.is_empty,
                "written": not (dry_run or change.is_empty),
                "next": _next_fires(parsed),
            }
        )
        return
    _print_change(job, before, parsed, also, change, dry_run)
    _print_next(job, parsed)


@click.command("unschedule", cls=HomeCommand)
@job_argument
@dry_run_option
@json_option
def unschedule_command(job: str, dry_run: bool, as_json: bool) -> None:
    """Take JOB out of the crontab; its file, runs and checkpoints stay.

    \b
    Example:
      maejobs unschedule pretrain
    """
    home = current_home()
    before = _entries_of(home, job)
    if not before:
        raise UserError(f"{job} is not scheduled in the {open_target(home.crontab).name}")
    change = _change(
        home,
        lambda entries: [e for e in entries if e.job != job or not belongs_to(e, home)],
        dry_run,
    )
    if not dry_run:
        _remember_schedule(home, job)
    if as_json:
        from maejobs.cli.output import print_json

        print_json({"job": job, "removed": [old.expression for old in before]})
    elif dry_run:
        click.echo(change.diff(), nl=False)
    else:
        for old in before:
            click.echo(f"unscheduled {job}: {old.expression}")


def _with(entries: Sequence[Entry], new: Entry, home: Home, also: bool) -> list[Entry]:
    mine = [e for e in entries if e.job == new.job and belongs_to(e, home)]
    if new in mine:
        return list(entries)
    if also or not mine:
        return [*entries, new]
    return [new if e is mine[0] else e for e in entries if e is mine[0] or e not in mine]


def _change(home: Home, build: Build, dry_run: bool) -> Change:
    return change_table(
        open_target(home.crontab),
        lambda table: replace_entries(table, build(read_entries(table))),
        home.locks_dir,
        home.crontab_backups_dir,
        dry_run,
    )


def _entries_of(home: Home, job: str) -> list[Entry]:
    table = open_target(home.crontab).read() or b""
    return [e for e in read_entries(table) if e.job == job and belongs_to(e, home)]


def _executable() -> Path:
    """The installed command by the path that cron, with its bare PATH, can start."""
    beside = Path(sys.executable).parent / "maejobs"
    if beside.exists():
        return beside
    found = shutil.which("maejobs")
    if found is None:
        raise UserError("the installed `maejobs` command was not found; install the package first")
    return Path(found).absolute()


def _shipped_jobs() -> Path:
    from maejobs.shipped import shipped

    return shipped("jobs.d")


def _remember_schedule(home: Home, job: str) -> None:
    """Tell the database since when the job is scheduled; the crontab stands without it."""
    from maejobs.rundb.database import open_database
    from maejobs.rundb.record import set_job

    schedule = "\n".join(entry.expression for entry in _entries_of(home, job)) or None
    now = clock.now()
    try:
        with open_database(home) as engine:
            set_job(engine, job, schedule=schedule, scheduled_since=now, checked_until=now)
    except MaejobsError as error:
        click.echo(f"maejobs: scheduled, but not noted in the database: {error}", err=True)


def _print_change(
    job: str,
    before: Sequence[Entry],
    expression: Expression,
    also: bool,
    change: Change,
    dry_run: bool,
) -> None:
    if change.is_empty:
        click.echo(f"{job} is scheduled so already: {expression.text}")
    elif before and not also:
        olds = ", ".join(entry.expression for entry in before)
        click.echo(f"rescheduled {job}: {olds} → {expression.text}")
    else:
        click.echo(f"scheduled {job}: {expression.text}")
    if dry_run:
        click.echo(change.diff(), nl=False)
        click.echo("(dry run: nothing was written)")


def _next_fires(expression: Expression) -> list[str]:
    from maejobs.cron.fires import fires, host_zone

    zone = host_zone()
    coming = islice(fires(expression, clock.now(), zone), SHOWN_FIRES)
    return [fire.astimezone(zone).isoformat() for fire in coming]


def _print_next(job: str, expression: Expression) -> None:
    from maejobs.cli.output import local, relative
    from maejobs.cron.fires import fires, host_zone

    if expression.reboot:
        click.echo("next: when the host starts")
        return
    for fire in islice(fires(expression, clock.now(), host_zone()), SHOWN_FIRES):
        click.echo(f"next: {local(fire)} ({relative(fire)})")
