"""`maejobs doctor`: whether a night would work, point by point."""

import os
import pwd
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import click

from maejobs import clock
from maejobs.cli.environment_check import CHANGES, differing, lacking, lines_above
from maejobs.cli.finding import BAD, GOOD, WARNING, Finding
from maejobs.cli.options import (
    HomeCommand,
    become_owner_of,
    current_home,
    json_option,
    table_options,
)
from maejobs.cli.output import print_json
from maejobs.cli.record_check import recorded
from maejobs.cli.scheduler_check import (
    NONE_RUNS,
    gone_homes,
    kept_out,
    schedulers,
    stale_heartbeat,
)
from maejobs.cli.text import one_line
from maejobs.cli.zone import whose_clock
from maejobs.cron.block import read_entries
from maejobs.cron.dialect import dialect_of
from maejobs.cron.grammar import BadExpression, parse_expression
from maejobs.cron.lines import parse_lines
from maejobs.cron.schedule import RECONCILE, belongs_to, command_words, is_probe, is_reconcile
from maejobs.cron.target import OTHER_USER, SYSTEM, open_target
from maejobs.daemon.alone import is_served
from maejobs.errors import EXIT_FAILED, MaejobsError
from maejobs.home import BadSettings, Home
from maejobs.privilege import owner_of

COLOURS = {GOOD: "green", WARNING: "yellow", BAD: "red"}


@click.command("doctor", cls=HomeCommand)
@click.option(
    "--probe",
    "probing",
    is_flag=True,
    help="Put a line into the crontab for up to two minutes, and see whether it is started.",
)
@table_options
@json_option
def doctor_command(probing: bool, as_json: bool) -> int:
    """Check whether a night would work, point by point.

    The home, its settings, the jobs, the database, the crontab, cron's environment and the daemon.
    Exit code 1 if something would keep a night from working.

    \b
    Example:
      maejobs doctor
      maejobs doctor --probe
    """
    try:
        home = current_home()
    except BadSettings as error:
        findings = list(_without_settings(error))
    else:
        findings = list(examine(home))
        if probing and home.exists:
            from maejobs.cli.probe import probed

            good, text = probed(home)
            findings.append(Finding("probe", GOOD if good else BAD, text))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            verdict = click.style(f"{finding.verdict:<8}", fg=COLOURS[finding.verdict])
            click.echo(f"{verdict} {one_line(finding.what)}: {one_line(finding.text)}")
    return EXIT_FAILED if any(finding.verdict == BAD for finding in findings) else 0


def examine(home: Home) -> Iterator[Finding]:
    """Every finding about `home` and the host, in the order of a night."""
    yield _home(home)
    if clock.shift():
        yield Finding("clock", WARNING, f"clock_shift is set: this home rehearses, {clock.shift()}")
    yield from _jobs(home)
    yield from _gpus(home)
    yield from recorded(home)
    yield from _crontab(home)
    yield from _environment(home)
    yield from _scheduler(home)
    yield Finding("zone", GOOD, whose_clock(home))


def _without_settings(error: BadSettings) -> Iterator[Finding]:
    """What can be said where maejobs.toml cannot be read: it names the database and the crontab."""
    become_owner_of(error.home.root)
    yield _home(error.home)
    yield Finding("settings", BAD, f"{error} (jobs run without settings; their records wait)")
    yield from _jobs(error.home)


def _home(home: Home) -> Finding:
    if not home.exists:
        return Finding("home", BAD, f"no home at {home.root}; `maejobs init` makes it")
    return Finding("home", GOOD, str(home.root))


def _jobs(home: Home) -> Iterator[Finding]:
    from maejobs.cli.startable import problems_of
    from maejobs.jobs.load import job_names, load_job

    if home.exists and not job_names(home.jobs_dir):
        yield Finding("jobs", WARNING, f"no job files in {home.jobs_dir}; `maejobs init` adds ours")
    for name in job_names(home.jobs_dir):
        try:
            problems = problems_of(home, load_job(home.jobs_dir, name))
        except MaejobsError as error:
            problems = [str(error)]
        for problem in problems:
            yield Finding(f"job {name}", BAD, one_line(problem))
        if not problems:
            yield Finding(f"job {name}", GOOD, str(home.jobs_dir / f"{name}.toml"))


def _gpus(home: Home) -> Iterator[Finding]:
    """What is the matter with those that some job asks for."""
    from maejobs.jobs.load import job_names
    from maejobs.launch.gpus import NoGpus, read_gpus, why_busy
    from maejobs.watch.slots import job_file

    if not any((job := job_file(home, name)) and job.gpu for name in job_names(home.jobs_dir)):
        return
    try:
        sick = [gpu for gpu in read_gpus() if gpu.trouble]
    except NoGpus as error:
        yield Finding("GPUs", BAD, f"{error} (jobs with `gpu` are skipped)")
        return
    for gpu in sick:
        yield Finding("GPUs", WARNING, str(why_busy(gpu, None)))


def _crontab(home: Home) -> Iterator[Finding]:
    try:
        target = open_target(home.crontab)
        found, dialect = read_entries(target.read() or b""), dialect_of(home)
    except MaejobsError as error:
        yield Finding("crontab", BAD, str(error))
        return
    if any(is_probe(entry, home) for entry in found):
        why = "a probe's line was left in the crontab; `maejobs doctor --probe` takes it out"
        yield Finding("probe", WARNING, why)
    entries = [entry for entry in found if belongs_to(entry, home)]
    jobs = sorted({entry.job for entry in entries})
    yield Finding(
        "crontab",
        GOOD if jobs else WARNING,
        f"{target.name} schedules {', '.join(jobs) or 'no job of this home'}",
    )
    lines = [entry for entry in found if is_reconcile(entry, home)]
    if jobs and not lines:
        why = "lost and missed runs are found late; `maejobs watch install` mends that"
        yield Finding("watch", WARNING, why)
    for job, root in gone_homes(found):
        why = f"its home {root} is not there, so it starts nothing; `maejobs edit` takes it out"
        yield Finding(f"entry {job}", WARNING, why)
    for entry in [*entries, *lines]:
        try:
            parse_expression(entry.expression, dialect)
        except BadExpression as error:
            why = f"{entry.expression}: bad {error.field or 'expression'}: {error.reason}"
            yield Finding(f"entry {entry.job}", BAD, why)
        # In the system's table the user stands before it.
        executable = command_words(entry)[1 if target.system else 0]
        if not os.access(executable, os.X_OK):
            yield Finding(f"entry {entry.job}", BAD, f"{executable} cannot be started")
        if entry.job != RECONCILE and not (home.jobs_dir / f"{entry.job}.toml").exists():
            yield Finding(f"entry {entry.job}", BAD, f"there is no {entry.job}.toml")


def _environment(home: Home) -> Iterator[Finding]:
    from maejobs.supervise.environment import SYSTEM_PATH

    try:
        target = open_target(home.crontab)
        above = lines_above(parse_lines(target.read() or b"", target.system))
    except MaejobsError:
        return  # told with the crontab
    for line in above:
        if changes := CHANGES.get(line.name or ""):
            why = f"line {line.number} stands above our lines; it changes {changes}"
            yield Finding(f"{line.name} in the crontab", WARNING, why)
    path = f"{Path(sys.executable).parent}:{SYSTEM_PATH}"
    table = {line.name: line.value or "" for line in above if line.name}
    given, runs = _environments_of_jobs(home, table)
    if missing := lacking(os.environ, table, given, path):
        why = f"set here but not for jobs: {', '.join(missing)}"
        yield Finding("environment", WARNING, f"{why}; `env` or `env_file` in a job file sets it")
    if others := differing(os.environ, runs):
        yield Finding("environment", WARNING, f"not as cron's: {'; '.join(others)}")


def _environments_of_jobs(
    home: Home, table: Mapping[str, str]
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Of each job that can be read, what its file sets, and all that a run started by cron has."""
    from maejobs.cli.startable import environment_of, variables_of
    from maejobs.jobs.load import job_names, load_job

    crons = {"HOME": _home_of_account(home)} | dict(table)
    given, runs = [], []
    for name in job_names(home.jobs_dir):
        try:
            job = load_job(home.jobs_dir, name)
        except MaejobsError:
            continue  # told with the jobs
        given.append(variables_of(home, job))
        runs.append(environment_of(home, job, crons))
    return given, runs


def _home_of_account(home: Home) -> str:
    try:
        return pwd.getpwuid(owner_of(home.root).uid).pw_dir
    except KeyError:
        return os.environ.get("HOME", "/")


def _scheduler(home: Home) -> Iterator[Finding]:
    is_file = Path(home.crontab).is_absolute()
    user = (
        home.crontab.removeprefix(OTHER_USER) if home.crontab.startswith(OTHER_USER) else _login()
    )
    if not is_file and home.crontab != SYSTEM and (why := kept_out(user)):
        yield Finding("permission", BAD, why)
    try:
        target = open_target(home.crontab)
    except MaejobsError:
        return  # told with the crontab
    running = schedulers(target, is_file)
    if is_served(target) and (why := stale_heartbeat(home, target, clock.now())):
        yield Finding("heartbeat", WARNING, f"maejobs daemon runs, but {why}")
    if len(running) > 1:
        yield Finding("daemon", BAD, f"{' and '.join(running)}: each job starts twice")
    elif running:
        yield Finding("daemon", GOOD, running[0])
    elif is_file:
        why = f"the table is the file {home.crontab}: no cron reads it, and no maejobs daemon runs"
        yield Finding("daemon", WARNING, why)
    else:
        yield Finding("daemon", BAD, NONE_RUNS)


def _login() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
