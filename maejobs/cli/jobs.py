"""`maejobs jobs` and `check`: job files and expressions, looked at before they matter."""

from itertools import islice

import click

from maejobs import clock
from maejobs.cli.options import HomeCommand, current_home, json_option
from maejobs.cli.output import local, print_json, print_table, relative
from maejobs.cli.text import visible
from maejobs.cron.fires import fires, host_zone
from maejobs.cron.grammar import BadExpression, parse_expression
from maejobs.errors import EXIT_USAGE, UserError

SHOWN_FIRES = 5


@click.command("jobs", cls=HomeCommand)
@json_option
def jobs_command(as_json: bool) -> int:
    """List the job files, and every error in them.

    Exit code 2 if a file has an error, a schedule that is none, or a program that cannot be
    started.

    \b
    Example:
      maejobs jobs
    """
    from maejobs.cli.startable import problems_of
    from maejobs.jobs.load import job_names, load_job

    home = current_home()
    good, bad = [], {}
    for name in job_names(home.jobs_dir):
        try:
            job = load_job(home.jobs_dir, name)
        except UserError as error:
            bad[name] = str(error)
            continue
        good.append(job)
        if problems := problems_of(home, job):
            bad[name] = "\n".join(problems)
    if as_json:
        told = {job.name: job.model_dump() for job in good}
        for name, text in bad.items():
            told[name] = told.get(name, {"name": name}) | {"problem": text}
        print_json(list(told.values()))
    elif not (good or bad):
        click.echo(f"no jobs in {home.jobs_dir}; `maejobs init` puts ours there")
    else:
        print_table(
            ["job", "suggested schedule", "summary"],
            [[job.name, job.schedule or "", job.summary] for job in good],
        )
        for text in bad.values():
            click.echo(f"maejobs: {visible(text)}", err=True)
    return EXIT_USAGE if bad else 0


@click.command("check", cls=HomeCommand)
@click.argument("expression")
@json_option
def check_command(expression: str, as_json: bool) -> int:
    """Check a schedule EXPRESSION and show when it fires.

    Exit code 0: valid; 2: not.

    \b
    Example:
      maejobs check "30 2 * * 1-5"
    """
    try:
        parsed = parse_expression(expression)
    except BadExpression as error:
        if not as_json:
            raise
        print_json(
            {
                "expression": expression,
                "valid": False,
                "field": error.field,
                "column": error.column,
                "reason": error.reason,
            }
        )
        return EXIT_USAGE
    coming = list(islice(fires(parsed, clock.now(), host_zone()), SHOWN_FIRES))
    if as_json:
        print_json({"expression": parsed.text, "valid": True, "next": coming})
        return 0
    click.echo(f"{parsed.text} is valid")
    if parsed.reboot:
        click.echo("next: when the host starts")
    for fire in coming:
        click.echo(f"next: {local(fire)} ({relative(fire)})")
    return 0
