"""`maejobs status` and `next`: one screen of how things stand, and what comes."""

from datetime import datetime, timedelta
from heapq import merge
from itertools import islice
from typing import Any

import click

from maejobs import clock
from maejobs.cli.options import HomeCommand, current_home, json_option
from maejobs.cli.output import length, local, print_json, print_table, progress, relative, visible
from maejobs.cron.block import Entry
from maejobs.cron.fires import fires, host_zone, next_fire, previous_fire
from maejobs.cron.grammar import parse_expression
from maejobs.cron.schedule import entries_of
from maejobs.cron.target import open_target
from maejobs.errors import MaejobsError, UserError
from maejobs.home import Home


@click.command("status", cls=HomeCommand)
@json_option
def status_command(as_json: bool) -> None:
    """Show every job: how its last run ended, when the next comes, and how late one is.

    \b
    Example:
      maejobs status
    """
    home = current_home()
    rows = _status(home)
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo(f"no jobs in {home.jobs_dir}; `maejobs init` puts ours there")
        return
    print_table(
        ["job", "last run", "state", "progress", "took", "next", "notes"],
        [
            [
                row["job"],
                relative(row["last_started"] or row["last_slot"]),
                row["state"] or "never ran",
                progress(row["step"], row["total_steps"]),
                length(row["duration_seconds"]),
                f"{local(row['next'])} ({relative(row['next'])})" if row["next"] else "",
                visible(_notes(row)),
            ]
            for row in rows
        ],
    )


@click.command("next", cls=HomeCommand)
@click.argument("job", required=False)
@click.option("-n", "--count", default=10, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def next_command(job: str | None, count: int, as_json: bool) -> None:
    """Show the coming slots of all jobs, or of JOB, in order.

    \b
    Example:
      maejobs next -n 5
    """
    home = current_home()
    entries = entries_of(open_target(home.crontab), home)
    if job and not (entries := [entry for entry in entries if entry.job == job]):
        raise UserError(f"{job} is not scheduled; see `maejobs list`")
    coming = list(islice(merge(*map(_slots, entries)), count))
    if as_json:
        print_json([{"at": at, "job": name, "expression": text} for at, name, text in coming])
    elif not coming:
        click.echo('nothing is scheduled; try `maejobs schedule pretrain "0 2 * * *"`')
    else:
        print_table(
            ["when", "", "job", "expression"],
            [[local(at), relative(at), name, text] for at, name, text in coming],
        )


def _slots(entry: Entry) -> Any:
    expression = parse_expression(entry.expression)
    for fire in fires(expression, clock.now(), host_zone()):
        yield fire, entry.job, entry.expression


def _status(home: Home) -> list[dict[str, Any]]:
    from maejobs.jobs.load import job_names

    trouble: list[str] = []
    try:
        entries = entries_of(open_target(home.crontab), home)
    except MaejobsError as error:
        click.echo(f"maejobs: {error}", err=True)
        entries = []
    recorded = _recorded(home, trouble)
    for line in trouble:
        click.echo(f"maejobs: {line}", err=True)
    names = sorted({*job_names(home.jobs_dir), *recorded, *(entry.job for entry in entries)})
    return [_job_status(home, name, entries, recorded.get(name, {})) for name in names]


def _recorded(home: Home, trouble: list[str]) -> dict[str, dict[str, Any]]:
    from maejobs.cli.output import as_dict
    from maejobs.rundb.database import open_database
    from maejobs.rundb.queries import job_rows, runs_by_id

    try:
        with open_database(home) as engine:
            rows = job_rows(engine)
            runs = runs_by_id(engine, [row.last_run for row in rows.values() if row.last_run])
    except MaejobsError as error:
        trouble.append(str(error))
        return {}
    return {name: as_dict(row) | {"run": runs.get(row.last_run)} for name, row in rows.items()}


def _job_status(
    home: Home, name: str, entries: list[Entry], recorded: dict[str, Any]
) -> dict[str, Any]:
    from maejobs.supervise.gates import pause_file

    now, zone = clock.now(), host_zone()
    expressions = [parse_expression(entry.expression) for entry in entries if entry.job == name]
    coming = [fire for e in expressions if (fire := next_fire(e, now, zone))]
    due = [fire for e in expressions if (fire := previous_fire(e, now, zone))]
    run = recorded.get("run")
    started, finished = recorded.get("last_started"), recorded.get("last_finished")
    took = (finished - started).total_seconds() if started and finished else None
    late_after, problem = _late_after(home, name)
    late = _late_by(now, max(due, default=None), late_after, recorded)
    return {
        "job": name,
        "schedule": [expression.text for expression in expressions],
        "state": recorded.get("last_state"),
        "reason": recorded.get("last_reason"),
        "outcome": recorded.get("last_outcome"),
        "last_run": recorded.get("last_run"),
        "last_slot": recorded.get("last_slot"),
        "last_started": started,
        "last_finished": finished,
        "last_success": recorded.get("last_success"),
        "duration_seconds": took,
        "step": run.step if run is not None else None,
        "total_steps": run.total_steps if run is not None else None,
        "next": min(coming, default=None),
        "late_seconds": late.total_seconds() if late else None,
        "paused": pause_file(home, name).exists(),
        "problem": problem,
    }


def _late_after(home: Home, name: str) -> tuple[timedelta, str | None]:
    from maejobs.jobs.load import load_job
    from maejobs.watch.reconcile import LATE_AFTER

    try:
        return load_job(home.jobs_dir, name).late_after, None
    except MaejobsError as error:
        return LATE_AFTER, str(error)


def _late_by(
    now: datetime, due: datetime | None, late_after: timedelta, recorded: dict[str, Any]
) -> timedelta | None:
    """How long ago the newest slot should have started, if it has not and the grace is over."""
    since = recorded.get("scheduled_since")
    last = recorded.get("last_slot")
    if due is None or since is None or due <= since or (last is not None and last >= due):
        return None
    return now - due if now - due > late_after else None


def _notes(row: dict[str, Any]) -> str:
    notes = []
    if row["late_seconds"] is not None:
        notes.append(f"late by {length(row['late_seconds'])}")
    if row["paused"]:
        notes.append("on pause")
    if not row["schedule"]:
        notes.append("not scheduled")
    notes += [row["outcome"]] if row["outcome"] else []
    notes += [row["reason"]] if row["reason"] else []
    notes += [row["problem"]] if row["problem"] else []
    return "; ".join(notes)
