"""`maejobs jobs`: job files, looked at before they matter."""

from typing import TYPE_CHECKING, Any

import click

from maejobs.cli.options import HomeCommand, home_to_show, json_option
from maejobs.cli.output import print_json, print_table
from maejobs.cli.text import visible
from maejobs.errors import EXIT_USAGE, UserError
from maejobs.home import Home

if TYPE_CHECKING:
    from maejobs.jobs.model import Job


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

    home = home_to_show()
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
        told = {job.name: _as_dict(home, job) | {"problem": None} for job in good}
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


def _as_dict(home: Home, job: "Job") -> dict[str, Any]:
    """The file's keys, its secrets hidden."""
    from maejobs.cli.startable import known_secrets
    from maejobs.jobs.secrets import HIDDEN, hide_in, is_secret

    told: dict[str, Any] = hide_in(job.model_dump(), known_secrets(home, job))
    told["env"] |= {name: HIDDEN for name in job.env if is_secret(name)}
    return told
