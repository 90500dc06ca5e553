"""`maejobs status`: one screen of how things stand."""

from datetime import datetime, timedelta, tzinfo
from typing import Any, NamedTuple

import click

from maejobs import clock
from maejobs.cli.options import PATIENCE_SECONDS, HomeCommand, home_to_show, json_option
from maejobs.cli.output import length, print_json, print_table, relative, share, short_local
from maejobs.cli.text import in_short, visible
from maejobs.cli.zone import take_the_daemons_zone, tell_zone
from maejobs.cron.block import Entry
from maejobs.cron.dialect import Dialect, dialect_of
from maejobs.cron.fires import next_fire, previous_fire
from maejobs.cron.grammar import BadExpression, Expression, parse_expression
from maejobs.cron.schedule import entries_of
from maejobs.cron.target import open_target
from maejobs.cron.zone import zone_of_slots
from maejobs.errors import EXIT_FAILED, MaejobsError
from maejobs.home import Home
from maejobs.launch.process import host_name
from maejobs.rundb.run import UNFINISHED

GONE = "its file is gone"
GONE_FOR = timedelta(days=30)  # after that a job without file and schedule is no news


class _Seen(NamedTuple):
    """A row for each job, cron's zone, what could not be read, and whether these two were."""

    rows: list[dict[str, Any]]
    zone: tzinfo
    trouble: list[str]
    runs_known: bool
    schedule_known: bool


@click.command("status", cls=HomeCommand)
@json_option
def status_command(as_json: bool) -> int:
    """Show every job: last state, when next, how late.

    What cannot be read (crontab, database) is said, and all else is shown; the exit code is 1 then.
    Slots are told on cron's clock. A job that has neither a file nor a line in the crontab any more
    is shown until its last run is 30 days old.

    \b
    Example:
      maejobs status
    """
    home = home_to_show()
    take_the_daemons_zone(home)
    seen = _status(home)
    for line in seen.trouble:
        click.echo(f"maejobs: {visible(line)}", err=True)
    if as_json:
        print_json(seen.rows)
    elif not seen.rows:
        click.echo(f"no jobs in {home.jobs_dir}; `maejobs init` puts ours there")
    else:
        _print_status(seen)
        tell_zone(seen.zone, (row["next"] for row in seen.rows if row["next"]))
    return EXIT_FAILED if seen.trouble else 0


def _print_status(seen: _Seen) -> None:
    stateless = "never ran" if seen.runs_known else "?"
    slotless = "" if seen.schedule_known else "?"
    print_table(
        ["job", "last run", "state", "progress", "took", "next", "notes"],
        [
            [
                row["job"],
                relative(_last_known(row)),
                row["state"] or stateless,
                share(row["step"], row["total_steps"]),
                length(row["duration_seconds"]),
                f"{short_local(row['next'], seen.zone)}, {relative(row['next'])}"
                if row["next"]
                else slotless,
                _notes(row),
            ]
            for row in seen.rows
        ],
    )


def _last_known(row: dict[str, Any]) -> datetime | None:
    """When the last run was, by the best that is known: it need not have started, nor ended."""
    keys = ("last_started", "last_finished", "last_queued")
    return next((row[key] for key in keys if row[key] is not None), None)


def _status(home: Home) -> _Seen:
    """How every job stands that has a file, a schedule, or a past that is not long ago."""
    from maejobs.jobs.load import job_names

    trouble: list[str] = []
    entries: list[Entry] = []
    table: bytes | None = None
    schedule_known = True
    try:
        table = open_target(home.crontab).read() or b""
        entries = entries_of(table, home)
    except MaejobsError as error:
        schedule_known = False
        trouble.append(str(error))
    # Before `init` there is no database to miss.
    recorded = _recorded(home, trouble) if home.exists else {}
    past = recorded or {}
    names = sorted({*job_names(home.jobs_dir), *past, *(entry.job for entry in entries)})
    zone = zone_of_slots(home, table)
    rows = [_job_status(home, name, entries, zone, past.get(name, {})) for name in names]
    for row in rows:
        row["schedule_known"] = schedule_known
    if schedule_known:
        rows = [row for row in rows if not _is_past(row)]
    return _Seen(rows, zone, trouble, recorded is not None, schedule_known)


def _is_past(row: dict[str, Any]) -> bool:
    """Whether the job was deleted, and ran so long ago that nobody asks how it is."""
    if row["problem"] != GONE or row["schedule"] or row["state"] in UNFINISHED:
        return False
    dates = [row[key] for key in ("last_queued", "last_finished") if row[key] is not None]
    return not dates or max(dates) < clock.now() - GONE_FOR


def _recorded(home: Home, trouble: list[str]) -> dict[str, dict[str, Any]] | None:
    """What the database has of each job; None where it cannot be asked."""
    from maejobs.cli.output import as_dict
    from maejobs.rundb.database import open_database
    from maejobs.rundb.queries import job_rows, runs_by_id

    try:
        with open_database(home, PATIENCE_SECONDS) as engine:
            rows = job_rows(engine)
            runs = runs_by_id(engine, [row.last_run for row in rows.values() if row.last_run])
    except MaejobsError as error:
        trouble.append(str(error))
        return None
    return {name: as_dict(row) | {"run": runs.get(row.last_run)} for name, row in rows.items()}


def _job_status(
    home: Home, name: str, entries: list[Entry], zone: tzinfo, recorded: dict[str, Any]
) -> dict[str, Any]:
    from maejobs.cli.pausing import read_pause
    from maejobs.watch.missed import late_by

    pause = home.pause_file(name)
    now = clock.now()
    mine = [entry.expression for entry in entries if entry.job == name]
    expressions, unread = _parsed(mine, dialect_of(home))
    coming = [fire for e in expressions if (fire := next_fire(e, now, zone))]
    due = [fire for e in expressions if (fire := previous_fire(e, now, zone))]
    run = recorded.get("run")
    started, finished = recorded.get("last_started"), recorded.get("last_finished")
    took = None
    if started and finished and started <= finished:  # the clock may have been set back
        took = (finished - started).total_seconds()
    late_after, problem = _late_after(home, name)
    since, last_slot = recorded.get("scheduled_since"), recorded.get("last_slot")
    late = late_by(now, max(due, default=None), late_after, since, last_slot)
    return {
        "job": name,
        "schedule": mine,
        "state": recorded.get("last_state"),
        "reason": recorded.get("last_reason"),
        "outcome": recorded.get("last_outcome"),
        "failure_class": run.failure_class if run is not None else None,
        "pace": run.pace if run is not None else None,
        "host": run.host if run is not None else None,
        "last_run": recorded.get("last_run"),
        "last_slot": recorded.get("last_slot"),
        "last_queued": run.queued if run is not None else None,
        "last_started": started,
        "last_finished": finished,
        "last_success": recorded.get("last_success"),
        "duration_seconds": took,
        "step": run.step if run is not None else None,
        "total_steps": run.total_steps if run is not None else None,
        "next": min(coming, default=None),
        "late_seconds": late.total_seconds() if late else None,
        "paused": pause.exists(),
        "pause_reason": read_pause(pause).get("reason"),
        "problem": problem or unread,
    }


def _parsed(texts: list[str], dialect: Dialect) -> tuple[list[Expression], str | None]:
    """The expressions, and what is wrong with one that was edited into the crontab by hand."""
    expressions, problem = [], None
    for text in texts:
        try:
            expressions.append(parse_expression(text, dialect))
        except BadExpression as error:
            problem = f"{text}: bad {error.field or 'expression'}: {error.reason}"
    return expressions, problem


def _late_after(home: Home, name: str) -> tuple[timedelta, str | None]:
    from maejobs.jobs.load import load_job
    from maejobs.watch.slots import LATE_AFTER

    try:
        return load_job(home.jobs_dir, name).late_after, None
    except MaejobsError as error:
        is_gone = not (home.jobs_dir / f"{name}.toml").exists()
        return LATE_AFTER, GONE if is_gone else str(error)


def _notes(row: dict[str, Any]) -> str:
    notes = []
    if row["late_seconds"] is not None:
        notes.append(f"late by {length(row['late_seconds'])}")
    if row["state"] in UNFINISHED and row["host"] != host_name():
        notes.append(f"on {row['host']}")
    if row["paused"]:
        notes.append("on pause" + (f": {row['pause_reason']}" if row["pause_reason"] else ""))
    if not row["schedule"]:
        notes.append("not scheduled" if row["schedule_known"] else "its schedule is not known")
    if row["problem"]:
        is_gone = row["problem"] == GONE
        notes.append(GONE if is_gone else "has an error: see `maejobs doctor`")
    if row["pace"]:
        notes.append(f"suspiciously {row['pace']}")
    if not row["paused"]:  # while it is, how the last run ended is not what matters
        notes += [in_short(row["outcome"])] if row["outcome"] else []
        notes += [in_short(row["reason"])] if row["reason"] and not row["problem"] else []
    return "; ".join(notes)
