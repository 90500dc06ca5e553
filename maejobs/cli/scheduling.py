"""`maejobs schedule`: a job's lines in the crontab."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maejobs.cli.entries import (
    change_entries,
    command_of,
    entries_in,
    print_dry_run,
    refuse_anothers_home,
    remember_schedule,
    tell_strays,
)
from maejobs.cli.options import (
    QUOTE_IT,
    HomeCommand,
    current_home,
    dry_run_option,
    job_argument,
    json_option,
    table_options,
)
from maejobs.cli.pausing import paused_of
from maejobs.cli.text import visible
from maejobs.cron.block import Entry
from maejobs.cron.dialect import dialect_of
from maejobs.cron.grammar import parse_expression
from maejobs.cron.schedule import belongs_to
from maejobs.cron.target import open_target
from maejobs.errors import UserError
from maejobs.home import Home

if TYPE_CHECKING:
    from maejobs.jobs.model import Job


@click.command("schedule", cls=HomeCommand, context_settings={"allow_extra_args": True})
@job_argument
@table_options
@click.argument("expression", required=False)
@click.option("--also", is_flag=True, help="Add a second entry for a job that has one.")
@click.option("--strict", is_flag=True, help="Refuse where a run would be lost to another.")
@dry_run_option
@json_option
def schedule_command(
    job: str, expression: str | None, also: bool, strict: bool, dry_run: bool, as_json: bool
) -> None:
    """Put JOB into the crontab, or change when it runs.

    EXPRESSION is cron's: five fields (minute, hour, day-of-month, month, day-of-week) or a
    nickname such as @daily. Without one, the job file's `schedule` is taken. What the coming week
    brings is shown first, as `maejobs plan JOB` does.

    \b
    Example:
      maejobs schedule pretrain "0 2 * * *"
      maejobs schedule evaluate "30 6 * * 1-5" --dry-run --strict
    """
    from maejobs.cli import foresight
    from maejobs.cli.zone import take_the_daemons_zone, tell_zone
    from maejobs.cron.zone import zone_of_slots

    if click.get_current_context().args:
        raise click.UsageError(QUOTE_IT)
    home = current_home()
    open_target(home.crontab)  # a user who is not there comes before a home that is not theirs
    refuse_anothers_home(home)
    parsed = parse_expression(_text_of(home, job, expression), dialect_of(home))
    entry = Entry(job, parsed.text, command_of(home, job))
    take_the_daemons_zone(home)
    zone = zone_of_slots(home)
    lengths, trouble = foresight.known_lengths(home)

    def build(entries: Sequence[Entry]) -> list[Entry]:
        wanted = _with(entries, entry, home, also)
        if strict:
            outlook, _ = foresight.foresee(home, wanted, job, lengths, zone)
            foresight.refuse_collisions(outlook)
        return wanted

    # A crontab that refuses leaves no home behind.
    change = change_entries(home, build, dry_run=True)
    outlook, unread = foresight.try_to_foresee(home, change, job, lengths, zone)
    for line in trouble + unread:
        click.echo(f"maejobs: {visible(line)}", err=True)
    foresight.tell_double_slots(outlook)
    if not as_json:
        foresight.print_next(parsed, outlook, zone)
        foresight.print_problems_of(outlook)
        tell_zone(zone, foresight.next_fires(parsed, zone))
    if not dry_run:
        if not home.exists:
            from maejobs.cli.upkeep import make_home

            make_home(home)
            click.echo(f"made the home {home.root}", err=True)
        change = change_entries(home, build, dry_run=False)
        if not change.is_empty:
            remember_schedule(home, job)
        _warn_without_daemon(home)
    tell_strays(change.after, home, job)
    if paused := paused_of(home, [job]):
        click.echo(f"maejobs: {job} is paused; `maejobs resume {job}` lets it run", err=True)
    before, after = (entries_in(table, home, job) for table in (change.before, change.after))
    if as_json:
        from maejobs.cli.output import print_json

        print_json(
            {
                "job": job,
                "expression": parsed.text,
                "before": [old.expression for old in before],
                "after": [new.expression for new in after],
                "changed": not change.is_empty,
                "paused": bool(paused),
                "written": not (dry_run or change.is_empty),
                "next": foresight.next_fires(parsed, zone),
                "plan": foresight.as_json_object(outlook),
            }
        )
        return
    would = "(dry run) " if dry_run else ""
    click.echo(would + _told(job, before, after, parsed.text))
    if dry_run:
        print_dry_run(change)


def _text_of(home: Home, job: str, expression: str | None) -> str:
    """The expression given, else the job file's own; before `init`, that of the file we ship."""
    from maejobs.jobs.load import load_job

    own = (load_job(home.jobs_dir, job) if home.exists else _shipped_job(home, job)).schedule
    if expression is None and own is None:
        raise UserError(
            f'{job} has no schedule of its own; give one: maejobs schedule {job} "0 2 * * *"'
        )
    return expression if expression is not None else own or ""


def _with(entries: Sequence[Entry], new: Entry, home: Home, also: bool) -> list[Entry]:
    """`entries` with `new` in place of the job's others, or `also` beside them.

    The same expression never stands there twice: cron would start the job twice a slot.
    """
    mine = [e for e in entries if e.job == new.job and belongs_to(e, home)]
    replaced = [e for e in mine if e.expression == new.expression] if also else mine
    if not replaced:
        return [*entries, new]
    same = next((e for e in replaced if e == new), new)  # whose blanks may be a hand's
    return [
        same if e is replaced[0] else e
        for e in entries
        if e is replaced[0] or not any(e is other for other in replaced)
    ]


def _shipped_job(home: Home, job: str) -> "Job":
    """The job as we ship it. Raises UserError where we do not, naming the nearest that we do."""
    from difflib import get_close_matches

    from maejobs.jobs.load import job_names, load_job, parse_job
    from maejobs.jobs.model import JOB_NAME
    from maejobs.shipped import shipped

    ours = shipped("jobs.d")
    known = job_names(ours)
    if JOB_NAME.fullmatch(job) and job not in known:
        near = get_close_matches(job, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"they are {', '.join(known)}"
        raise UserError(f"no job {job!r} among ours, and {home.root} is not there yet; {hint}")
    if job not in known:
        return load_job(ours, job)  # says what a job name is
    # Part of the program, whoever installed it and with whichever mode.
    file = ours / f"{job}.toml"
    return parse_job(file, job, file.read_text(encoding="utf-8"))


def _warn_without_daemon(home: Home) -> None:
    if Path(home.crontab).is_absolute():  # a file that no cron reads
        return
    from maejobs.cli.scheduler_check import NONE_RUNS
    from maejobs.daemon.alone import running_cron

    if running_cron() is None:
        click.echo(f"maejobs: {NONE_RUNS}", err=True)


def _told(job: str, before: Sequence[Entry], after: Sequence[Entry], expression: str) -> str:
    olds, news = ([entry.expression for entry in entries] for entries in (before, after))
    if before == after:
        return f"{job} is scheduled so already: {expression}; nothing changed"
    if olds == news:
        return f"{job} stays scheduled, {expression}; its line now calls {after[0].command}"
    if not before:
        return f"scheduled {job}: {expression}"
    return f"rescheduled {job}: {', '.join(olds)} → {', '.join(news)}"
