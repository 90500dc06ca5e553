"""`maejobs runs` and `show`: what happened."""

from typing import Any

import click
from humanize import naturalsize

from maejobs.cli.options import (
    PATIENCE_SECONDS,
    HomeCommand,
    existing_home,
    json_option,
    looking_up,
    optional_job_argument,
    run_argument,
)
from maejobs.cli.output import (
    as_dict,
    length,
    local,
    print_fields,
    print_json,
    print_table,
    progress,
    share,
    short_local,
)
from maejobs.cli.samples import size
from maejobs.cli.text import in_short, on_one_line
from maejobs.rundb.database import open_database
from maejobs.rundb.queries import checkpoints_of, events_of, find_run, last_metrics, newest_runs
from maejobs.rundb.run import FINISHED, NAME, UNFINISHED

JOULES_A_KWH = 3_600_000


@click.command("runs", cls=HomeCommand)
@optional_job_argument
@click.option(
    "-n",
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="At most so many.",
)
@click.option(
    "--state", type=click.Choice(sorted(UNFINISHED | FINISHED)), help="Only those in this state."
)
@json_option
def runs_command(job: str | None, limit: int, state: str | None, as_json: bool) -> None:
    """List the newest runs, of all jobs or of JOB.

    \b
    Example:
      maejobs runs pretrain -n 7
      maejobs runs --state failed --json
    """
    from maejobs.jobs.load import job_names, load_job

    home = existing_home()
    if job is not None and not NAME.fullmatch(job):
        load_job(home.jobs_dir, job)  # says what a job name is
    with open_database(home, PATIENCE_SECONDS) as engine:
        rows = newest_runs(engine, limit, job, state)
        is_known = rows or job is None or newest_runs(engine, 1, job)
        if job is not None and not is_known and job not in job_names(home.jobs_dir):
            load_job(home.jobs_dir, job)  # a misspelt name is told as such
    if as_json:
        print_json([as_dict(row) for row in rows])
        return
    if not rows:
        told = f"no {state} runs" if state else "no runs yet"
        click.echo(told + (f" of {job}" if job else ""))
        return
    print_table(
        ["run", "slot", "state", "took", "steps", "why"],
        [
            [
                row.id,
                short_local(row.slot) or "by hand",
                row.state,
                _told_length(row),
                share(row.step, row.total_steps),
                in_short(_why(row)),
            ]
            for row in rows
        ],
    )


@click.command("show", cls=HomeCommand)
@run_argument
@json_option
def show_command(run: str, as_json: bool) -> None:
    """Show all that is known of a run. A job's name means its newest.

    \b
    Example:
      maejobs show pretrain
    """
    home = existing_home()
    with open_database(home, PATIENCE_SECONDS) as engine:
        with looking_up(home, run):
            row = find_run(engine, run)
        metrics = last_metrics(engine, row.id)
        checkpoints = checkpoints_of(engine, row.id)
        events = events_of(engine, row.id)
    if as_json:
        print_json(
            as_dict(row)
            | {
                "metrics": [as_dict(metric) for metric in metrics],
                "checkpoints": [as_dict(checkpoint) for checkpoint in checkpoints],
                "events": [as_dict(event) for event in events],
            }
        )
        return
    print_fields(_fields(row))
    for metric in metrics:
        value = "not a number" if metric.value is None else f"{metric.value:.6g}"
        click.echo(f"  metric      {on_one_line(metric.name)} = {value} (step {metric.step})")
    for checkpoint in checkpoints:
        size = naturalsize(checkpoint.bytes or 0)
        click.echo(f"  checkpoint  step {checkpoint.step}: {on_one_line(checkpoint.path)} ({size})")
    for event in events:
        words = " ".join(str(value) for value in event.body.values())
        click.echo(f"  {on_one_line(event.kind):<10}  {on_one_line(words)}")


def _fields(row: Any) -> dict[str, str | None]:
    return {
        "run": row.id,
        "job": row.job,
        "state": row.state,
        "why": _why(row),
        "failure": row.failure_class,
        "slot": local(row.slot) or "by hand",
        "trigger": f"{row.trigger}, attempt {row.attempt}",
        "retry of": row.retry_of,
        "queued": local(row.queued),
        "started": local(row.started),
        "finished": local(row.finished),
        "took": _told_length(row),
        "deadline": local(row.deadline),
        "steps": progress(row.step, row.total_steps),
        "epoch": None if row.epoch is None else f"{row.epoch:.2f}",
        "from": row.checkpoint_in,
        "to": row.checkpoint_out,
        "exit code": None if row.exit_code is None else str(row.exit_code),
        "signal": None if row.signal is None else str(row.signal),
        "memory": naturalsize(row.peak_memory) if row.peak_memory else None,
        "whole tree": size(row.peak_tree_memory),
        "cpu": length(row.cpu_seconds),
        "disk": _disk(row),
        "gpu": _gpu(row),
        "energy": None if row.energy is None else f"{row.energy / JOULES_A_KWH:.3f} kWh",
        "host": row.host,
        "process": None if row.pid is None else str(row.pid),
        "command": " ".join(row.command or []),
        "code": row.revision,
        "job file": row.config_hash,
        "broken events": str(row.broken_events) if row.broken_events else None,
        "directory": row.directory,
    }


def _disk(row: Any) -> str | None:
    if not (row.bytes_read or row.bytes_written):
        return None
    return f"{naturalsize(row.bytes_read or 0)} read, {naturalsize(row.bytes_written or 0)} written"


def _gpu(row: Any) -> str | None:
    """How long it held GPUs, each counted, and how busy they were."""
    if row.gpu_seconds is None:
        return None
    told = [f"held for {length(row.gpu_seconds)}"]
    if row.gpu_utilisation is not None:
        told.append(f"{row.gpu_utilisation:.0%} busy")
    if row.peak_gpu_memory is not None:
        told.append(f"{naturalsize(row.peak_gpu_memory)} at most")
    return ", ".join(told)


def _told_length(row: Any) -> str:
    """How long it took, marked where that is surprising."""
    told = length(_took(row))
    return f"{told} ({row.pace}!)" if row.pace else told


def _took(row: Any) -> float | None:
    if row.started is None or row.finished is None:
        return None
    return float((row.finished - row.started).total_seconds())


def _why(row: Any) -> str:
    return ": ".join(part for part in (row.outcome, row.reason) if part)
