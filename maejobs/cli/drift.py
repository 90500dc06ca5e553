"""`maejobs diff` and `apply`: what the crontab has against what jobs.d wants."""

import click

from maejobs.cli.asking import agreed
from maejobs.cli.options import (
    HomeCommand,
    dry_run_option,
    existing_home,
    job_arguments,
    json_option,
    table_options,
)
from maejobs.cli.text import visible
from maejobs.cron.drift import Comparison, DriftKind
from maejobs.errors import EXIT_FAILED, EXIT_USAGE, UserError
from maejobs.home import Home


@click.command("diff", cls=HomeCommand)
@job_arguments
@table_options
@json_option
def diff_command(jobs: tuple[str, ...], as_json: bool) -> int:
    """Show where the crontab differs from jobs.d.

    The change that `apply` would make is shown, too.

    A job file's `schedule` is what is wanted; of a file without one, whatever the crontab says is
    right. Entries added with `schedule --also` are told, and are no drift. Exit code 0: no drift,
    1: drift, 2: a job file is bad.

    \b
    Example:
      maejobs diff
      maejobs diff pretrain
    """
    from maejobs.cron.install import Change
    from maejobs.cron.target import open_target

    home = existing_home()
    table = open_target(home.crontab).read()
    comparison = _compare(home, table, jobs)
    diff = Change(table, comparison.table).diff()
    if as_json:
        from maejobs.cli.output import print_json

        drifts = [
            {"kind": d.kind.value, "job": d.job, "line": d.line, "text": d.text}
            for d in comparison.drifts
        ]
        print_json({"in_line": comparison.in_line, "drift": drifts, "diff": diff})
    else:
        _print_drift(comparison)
        click.echo(visible(diff), nl=False)
        if diff:
            click.echo("`maejobs apply` makes this change")
    return 0 if comparison.in_line else EXIT_FAILED


@click.command("apply", cls=HomeCommand)
@job_arguments
@click.option("--prune", is_flag=True, help="Take out lines whose job file is gone.")
@click.option("--drop-also", is_flag=True, help="Take out what `schedule --also` added.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@table_options
@dry_run_option
def apply_command(
    jobs: tuple[str, ...], prune: bool, drop_also: bool, yes: bool, dry_run: bool
) -> int:
    """Bring the crontab in line with jobs.d, after showing the change.

    Makes a damaged block whole, too; lines that are not ours stay as they are. Asks on a terminal;
    elsewhere --yes is needed.

    \b
    Example:
      maejobs apply --dry-run
      maejobs apply pretrain --yes
    """
    from maejobs.cron.install import Change, change_table, unless_changed
    from maejobs.cron.target import open_target

    home = existing_home()
    target = open_target(home.crontab)
    table = target.read()
    comparison = _compare(home, table, jobs, prune, drop_also)
    change = Change(table, comparison.table)
    _print_drift(comparison)
    if not prune and any(drift.kind is DriftKind.ORPHAN for drift in comparison.drifts):
        click.echo("a line without its job file stays; --prune takes it out")
    if change.is_empty:
        click.echo("nothing to change")
        return 0
    click.echo(visible(change.diff()), nl=False)

    build = unless_changed(target, table, change.after)  # what was shown, and nothing else
    if dry_run:
        change_table(target, build, home.crontab_backups_dir, dry_run=True)
        click.echo("(dry run: nothing was written)")
        return 0
    if not yes and not agreed("Change the crontab so?"):
        click.echo("the crontab stays as it is")
        return EXIT_USAGE
    change_table(target, build, home.crontab_backups_dir)
    from maejobs.cli.entries import remember_schedule

    for job in comparison.changed:
        remember_schedule(home, job)
    click.echo(f"applied: {', '.join(comparison.changed) or 'the block is whole again'}")
    return 0


def _compare(
    home: Home,
    table: bytes | None,
    jobs: tuple[str, ...],
    prune: bool = False,
    drop_also: bool = False,
) -> Comparison:
    from maejobs.cli.entries import command_of, refuse_anothers_home
    from maejobs.cron.drift import compare
    from maejobs.cron.schedule import belongs_to

    refuse_anothers_home(home)
    wanted = _wanted(home, table or b"", jobs)
    return compare(
        table or b"",
        wanted,
        lambda job: command_of(home, job),
        lambda entry: belongs_to(entry, home),
        jobs or None,
        prune,
        drop_also,
    )


def _wanted(home: Home, table: bytes, jobs: tuple[str, ...]) -> dict[str, str | None]:
    """The schedule of each job file. Raises UserError with all that is wrong with any of them."""
    from maejobs.cron.dialect import dialect_of
    from maejobs.cron.grammar import BadExpression, parse_expression
    from maejobs.cron.repair import lay_out
    from maejobs.cron.schedule import belongs_to
    from maejobs.jobs.load import job_names, line_of, load_job

    dialect = dialect_of(home)
    entries = [line.entry for line in lay_out(table, lambda entry: True).ours]
    scheduled = {entry.job for entry in entries if belongs_to(entry, home)}
    files = job_names(home.jobs_dir)
    wanted: dict[str, str | None] = {}
    problems = []
    for name in jobs or files:
        if name not in files and name in scheduled:
            continue  # an orphan
        try:
            schedule = load_job(home.jobs_dir, name).schedule
        except UserError as error:
            problems.append(str(error))
            continue
        try:
            wanted[name] = None if schedule is None else parse_expression(schedule, dialect).text
        except BadExpression as error:
            path = home.jobs_dir / f"{name}.toml"
            line = line_of(path.read_text(encoding="utf-8-sig"), ("schedule",))
            problems.append(f"{path}:{line}: schedule: {error}")
    if problems:
        raise UserError("\n".join(problems))
    return wanted


def _print_drift(comparison: Comparison) -> None:
    for drift in comparison.drifts:
        click.echo(visible(drift.text))
    if comparison.in_line:
        click.echo("the crontab and jobs.d agree")
