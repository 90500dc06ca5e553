"""`maejobs adopt`: a line of the crontab that is not ours becomes a job, doing what it did."""

import os
from pathlib import Path

import click

from maejobs import clock
from maejobs.cli.entries import (
    command_of,
    entries_in,
    print_dry_run,
    refuse_anothers_home,
    remember_schedule,
    user_of,
)
from maejobs.cli.options import (
    HomeCommand,
    dry_run_option,
    existing_home,
    json_option,
    table_options,
)
from maejobs.cli.text import one_line, visible
from maejobs.cron.adopt import Adoption, matching_line, replace_line, take_over
from maejobs.cron.block import Entry, read_entries
from maejobs.cron.dialect import dialect_of
from maejobs.cron.install import Change, change_table
from maejobs.cron.target import Target, open_target
from maejobs.errors import MaejobsError, UserError
from maejobs.files import create_atomically, write_atomically
from maejobs.home import Home
from maejobs.privilege import acting_as, owner_of

SUMMARY_LENGTH = 60


@click.command("adopt", cls=HomeCommand)
@click.argument("job")
@click.option("--line", type=click.IntRange(min=1), metavar="N", help="The line's number, from 1.")
@click.option("--matching", metavar="TEXT", help="What the line holds, and no other job line.")
@table_options
@dry_run_option
@json_option
def adopt_command(
    job: str, line: int | None, matching: str | None, dry_run: bool, as_json: bool
) -> None:
    """Take a line of the crontab that is not ours over as JOB.

    A job file is written that does what cron made of the line (its shell, variables, input and
    umask), and our line comes in its stead; all others stay. What would not do the same as a job
    is refused.

    \b
    Example:
      maejobs adopt wiki-backup --line 3 --dry-run
      maejobs adopt wiki-backup --matching /usr/local/bin/wiki-backup
    """
    if (line is None) == (matching is None):
        raise click.UsageError("say which line: either --line N or --matching TEXT")
    home = existing_home()
    target = open_target(home.crontab)
    refuse_anothers_home(home)
    table = target.read() or b""
    _refuse_name(home, target, table, job)
    user = user_of(home) if target.system else None
    dialect = dialect_of(home)
    number = line or matching_line(table, matching or "", target.system, dialect)
    adoption = take_over(table, number, user, dialect)
    entry = Entry(job, adoption.expression, command_of(home, job))
    file, text = home.jobs_dir / f"{job}.toml", _job_file(adoption, target.name)
    # Without its schedule first: should we be killed before the table is changed, `apply` adds no
    # line of ours beside the other.
    draft = _job_file(adoption, target.name, scheduled=False)
    if os.path.lexists(file) and not _is_draft(file, draft):
        raise _taken(file)

    def build(now: bytes) -> bytes:
        return replace_line(now, adoption, entry, user)

    change = change_table(target, build, home.crontab_backups_dir, dry_run=True)
    if not dry_run:
        _create(file, draft)
        try:
            change = change_table(target, build, home.crontab_backups_dir)
        except BaseException:
            if not _holds(target, entry):
                file.unlink()
            raise
        _complete(file, text)
        remember_schedule(home, job)
    if as_json:
        _print_as_json(entry, adoption, file, text, change, written=not dry_run)
        return
    if dry_run:
        click.echo(f"{visible(str(file))} would be:\n{visible(text)}")
        print_dry_run(change)
    else:
        click.echo(f"line {number} is now the job {job}: {adoption.expression}; see {file}")
    for name, value in adoption.unused.items():
        click.echo(f"note: {_note(job, name, value)}", err=True)


def _refuse_name(home: Home, target: Target, table: bytes, job: str) -> None:
    """Raise UserError for a bad name, or one that a line of ours has."""
    from maejobs.jobs.load import load_job
    from maejobs.jobs.model import JOB_NAME

    if not JOB_NAME.fullmatch(job):
        load_job(home.jobs_dir, job)  # says what a job name is
    if entries_in(table, home, job):
        raise UserError(
            f"{job} has a line in the {target.name} already; `maejobs unschedule {job}` takes it "
            "out, or choose another name"
        )


def _taken(file: Path) -> UserError:
    return UserError(f"there is {file} already; choose another name for the job")


def _is_draft(file: Path, draft: str) -> bool:
    """Whether `file` is what an `adopt` of the same line left that was killed halfway."""
    try:
        there = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return _without_remarks(there) == _without_remarks(draft)


def _without_remarks(text: str) -> list[str]:
    return [line for line in text.split("\n") if not line.startswith("#")]


def _job_file(adoption: Adoption, place: str, scheduled: bool = True) -> str:
    from maejobs.cli.output import local
    from maejobs.jobs.render import render_job

    assert adoption.line.command is not None  # take_over saw to it
    summary = one_line(adoption.line.command)
    if len(summary) > SUMMARY_LENGTH:
        summary = summary[: SUMMARY_LENGTH - 1] + "…"
    was = adoption.line.raw.decode(errors="backslashreplace").removesuffix("\n")
    remarks = [f"Taken over on {local(clock.now())} from the {visible(place)}. The line was:"]
    return render_job(
        summary,
        adoption.argv,
        adoption.expression if scheduled else None,
        adoption.environment,
        [*remarks, f"  {visible(was)}"],
    )


def _create(file: Path, draft: str) -> None:
    """Make `file`, unless a killed `adopt` left it. Raises UserError if it is somebody's."""
    try:
        with acting_as(owner_of(file.parent)):
            create_atomically(file, draft.encode())
    except FileExistsError as error:
        if not _is_draft(file, draft):
            raise _taken(file) from error
    except OSError as error:
        raise MaejobsError(f"{file} cannot be written: {error.strerror}") from error


def _complete(file: Path, text: str) -> None:
    try:
        with acting_as(owner_of(file.parent)):
            write_atomically(file, text.encode())
    except OSError as error:
        told = f"maejobs: done, but the schedule is not noted in {file}: {error.strerror}"
        click.echo(visible(told), err=True)


def _holds(target: Target, entry: Entry) -> bool:
    try:
        return entry in read_entries(target.read() or b"")
    except MaejobsError:
        return True  # nobody knows, and a line without its file fails every night


def _note(job: str, name: str, value: str) -> str:
    if name == "MAILTO":
        told = f"{visible(value)} got" if value else "nobody got"
        return f"{told} the line's output by mail; now it is kept: `maejobs logs {job}`"
    return f"{visible(name)} above the line is about cron's mails; {job} sends none"


def _print_as_json(
    entry: Entry, adoption: Adoption, file: Path, text: str, change: Change, written: bool
) -> None:
    from maejobs.cli.output import print_json

    print_json(
        {
            "job": entry.job,
            "line": adoption.line.number,
            "expression": entry.expression,
            "file": str(file),
            "text": text,
            "unused": adoption.unused,
            "diff": change.diff(),
            "written": written,
        }
    )
