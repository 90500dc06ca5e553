"""`maejobs plan`: what comes, drawn; and what will be in its way."""

import shutil
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, astuple, replace
from typing import Any

import click

from maejobs.cli.options import (
    PATIENCE_SECONDS,
    HomeCommand,
    home_to_show,
    json_option,
    optional_job_argument,
    table_options,
)
from maejobs.cli.output import GAP, length, print_json, print_table
from maejobs.cli.pausing import paused_of, tell_paused
from maejobs.cli.text import visible
from maejobs.cli.timeline import FINE, PLAIN, TICKS, Ink, draw, filled
from maejobs.cli.zone import take_the_daemons_zone, tell_zone
from maejobs.errors import EXIT_FAILED, UserError
from maejobs.home import Home
from maejobs.watch.expectation import Expectation
from maejobs.watch.outlook import Outlook, outlook_of
from maejobs.watch.plan import Firing, PlannedJob
from maejobs.watch.problems import Kind, Problem

LABEL = len("Wed 25 Nov")
FINEST, COARSEST = 24, 3  # cells between two ticks
PIPED = 80
COLOURS = {"lost": "red", "deadline": "yellow", "unknown": "yellow"}
LEGEND = {
    "usual": "half of the runs end within",
    "long": "19 of 20",
    "unknown": "takes unknown long",
    "deadline": "deadline",
    "lost": "in another's way",
}


@click.command("plan", cls=HomeCommand)
@optional_job_argument
@click.option(
    "--days",
    default=2,
    show_default=True,
    type=click.IntRange(1, 366),
    help="How far to look ahead.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 where something goes wrong.")
@table_options
@json_option
def plan_command(job: str | None, days: int, strict: bool, as_json: bool) -> int:
    """Draw the coming runs, how long they take, what collides.

    Lengths are those of the last 50 runs that tell: half of them were no longer than p50, 95 % no
    longer than p95. A job whose runs pause at their deadline, as a campaign's do, is expected to
    go on until then. What cannot be read is said, and the rest drawn; the exit code is 1 then.

    \b
    Example:
      maejobs plan
      maejobs plan pretrain --days 30 --strict
    """
    home = home_to_show()
    take_the_daemons_zone(home)
    outlook, trouble = outlook_of(home, days, PATIENCE_SECONDS)
    for line in trouble:
        click.echo(f"maejobs: {visible(line)}", err=True)
    is_known = outlook.schedule_known
    if job is not None and is_known and job not in (planned.name for planned in outlook.jobs):
        raise _not_scheduled(home, job)
    shown = outlook if job is None else only(outlook, job)
    paused = paused_of(home, (planned.name for planned in shown.jobs))
    if as_json:
        print_json(as_json_object(shown) | {"paused": paused})
    elif not shown.jobs and not is_known:
        click.echo("what is scheduled is not known")
    elif not shown.jobs:
        click.echo('nothing is scheduled; try `maejobs schedule pretrain "0 2 * * *"`')
    else:
        _print_timeline(shown)
        _print_jobs(shown.jobs)
        if at_boot := _at_boot(shown.jobs):
            click.echo(f"when the host starts: {', '.join(at_boot)}")
        tell_paused(paused)
        click.echo()
        print_problems(shown.problems)
        if not shown.problems:
            click.echo("nothing is in another's way")
        tell_zone(shown.zone, (firing.slot for firing in shown.firings))
    return EXIT_FAILED if trouble or (strict and shown.problems) else 0


def only(outlook: Outlook, job: str) -> Outlook:
    """The part of the plan that concerns one job: its firings, and what it does to others."""
    return replace(
        outlook,
        jobs=tuple(planned for planned in outlook.jobs if planned.name == job),
        firings=[firing for firing in outlook.firings if firing.job.name == job],
        problems=[problem for problem in outlook.problems if problem.concerns(job)],
    )


def as_json_object(outlook: Outlook) -> dict[str, Any]:
    """The plan for programs; `history` is the number of runs that the ends are judged by."""
    return {
        "from": outlook.after,
        "until": outlook.until,
        "zone": str(outlook.zone),
        "schedule_known": outlook.schedule_known,
        "firings": [_firing(firing) for firing in outlook.firings],
        "at_boot": _at_boot(outlook.jobs),
        "problems": [asdict(problem) for problem in outlook.problems],
    }


def print_problems(problems: Iterable[Problem]) -> None:
    """A line each; on a terminal wrapped behind the kind of problem."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for problem in problems:
        times = f" ({problem.count} times)" if problem.count > 1 else ""
        text = visible(problem.text + times)
        margin = " " * (len(max(Kind, key=len)) + 2)
        lines = textwrap.wrap(text, max(width - len(margin), 20)) if width else [text]
        head = click.style(problem.kind, fg="red" if problem.costs_a_run else "yellow")
        click.echo(head + margin[len(problem.kind) :] + f"\n{margin}".join(lines))


def _not_scheduled(home: Home, job: str) -> UserError:
    from maejobs.jobs.load import job_names, load_job

    if job not in job_names(home.jobs_dir):
        load_job(home.jobs_dir, job)  # a misspelt name is told as such
    return UserError(f'{job} is not scheduled; `maejobs schedule {job} "0 2 * * *"` does it')


def _firing(firing: Firing) -> dict[str, Any]:
    return {
        "job": firing.job.name,
        "expression": firing.expression.text,
        "slot": firing.slot,
        "end_p50": firing.usual_end,
        "end_p95": firing.long_end,
        "deadline": firing.deadline,
        "history": firing.job.expected.runs,
    }


def _print_timeline(outlook: Outlook) -> None:
    columns = shutil.get_terminal_size((PIPED, 24)).columns
    names = [firing.job.name for firing in outlook.firings]
    label = max(min(max(map(len, names), default=0), columns // 3), LABEL)
    apart = max(min((columns - label - len(GAP)) // TICKS, FINEST), COARSEST)
    hours = "".join(f"{hour:02d}".ljust(apart) for hour in range(0, 24, 24 // TICKS)).rstrip()
    ink = _ink()
    days = draw(outlook, apart * TICKS, ink)
    for day in days:
        _print_row(click.style(f"{day.first:%a %d %b}".ljust(label), bold=True), hours)
        for name, row in day.rows.items():
            _print_row(name[:label].ljust(label), _coloured(row, ink))
        if day.last > day.first:
            _print_row(" " * label, f"so until {day.last:%a %d %b}")
        click.echo()
    drawn = {character for day in days for row in day.rows.values() for character in row}
    keys = [
        f"{mark} {LEGEND[kind]}"
        for kind, mark in asdict(ink).items()
        if kind in LEGEND and mark in drawn
    ]
    for line in filled(keys, columns):
        click.echo(_coloured(line, ink))
    click.echo()


def _print_row(label: str, cells: str) -> None:
    click.echo(f"{label}{GAP}{cells}".rstrip())


def _ink() -> Ink:
    try:
        "".join(astuple(FINE)).encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return PLAIN
    return FINE


def _coloured(row: str, ink: Ink) -> str:
    colours = {getattr(ink, kind): colour for kind, colour in COLOURS.items()}
    return "".join(click.style(c, fg=colours[c]) if c in colours else c for c in row)


def _print_jobs(jobs: Iterable[PlannedJob]) -> None:
    print_table(
        ["job", "when", "p50", "p95", "deadline", "needs"],
        [
            [
                job.name,
                ", ".join(expression.text for expression in job.expressions),
                *_lengths(job.expected),
                _deadline(job),
                ", ".join([*sorted(job.locks), *_gpus(job), *job.asks]),
            ]
            for job in jobs
        ],
    )


def _lengths(expected: Expectation) -> list[str]:
    if expected.to_deadline:
        return ["until its deadline", ""]
    if expected.usual is None or expected.long is None:
        return ["not known", ""]
    return [length(expected.usual.total_seconds()), length(expected.long.total_seconds())]


def _deadline(job: PlannedJob) -> str:
    until = f"{job.until:%H:%M}" if job.until is not None else ""
    timeout = f"after {length(job.timeout.total_seconds())}" if job.timeout is not None else ""
    return ", ".join(filter(None, (until, timeout)))


def _gpus(job: PlannedJob) -> list[str]:
    return [f"{job.gpus} GPU{'s' if job.gpus > 1 else ''}"] if job.gpus else []


def _at_boot(jobs: Iterable[PlannedJob]) -> list[str]:
    return [job.name for job in jobs if any(e.reboot for e in job.expressions)]
