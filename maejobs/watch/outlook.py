"""The plan of a home: its entries and job files, what its past lets expect, and what follows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from humanize import naturalsize

from maejobs import clock
from maejobs.cron.block import Entry
from maejobs.cron.dialect import Dialect, dialect_of
from maejobs.cron.grammar import BadExpression, Expression, parse_expression
from maejobs.cron.schedule import entries_of
from maejobs.cron.target import open_target
from maejobs.cron.zone import zone_of_slots
from maejobs.errors import MaejobsError, UserError
from maejobs.home import Home
from maejobs.jobs.load import NoJobFile, load_job
from maejobs.jobs.model import Job
from maejobs.launch.gpus import NoGpus, read_gpus
from maejobs.privilege import acting_as, owner_of
from maejobs.watch.expectation import UNKNOWN, Expectation, PastRun, expectations
from maejobs.watch.plan import Firing, PlannedJob, firings, is_gpu
from maejobs.watch.problems import Problem, problems


@dataclass(frozen=True)
class Outlook:
    """What `jobs` will do after `after`, up to and with `until` (UTC), as cron's `zone` has it.

    Not `schedule_known`: the crontab could not be read, so there may be other jobs.
    """

    jobs: tuple[PlannedJob, ...]
    after: datetime
    until: datetime
    zone: tzinfo
    firings: list[Firing]
    problems: list[Problem]
    schedule_known: bool = True


def look_ahead(jobs: Iterable[PlannedJob], after: datetime, days: int, zone: tzinfo) -> Outlook:
    """The plan of so many days. Raises UserError for more firings than can be looked through."""
    jobs, until = tuple(jobs), after + timedelta(days=days)
    coming = firings(jobs, after, until, zone)
    found = problems(jobs, coming, after, until, zone, _host_gpus(jobs))
    return Outlook(jobs, after, until, zone, coming, found)


def outlook_of(home: Home, days: int, patience: float) -> tuple[Outlook, list[str]]:
    """The home's plan of so many days, and what of it cannot be read, which is left out.

    `patience`: seconds for a locked database. Raises UserError for too many firings.
    """
    trouble: list[str] = []
    entries: list[Entry] = []
    table: bytes | None = None
    schedule_known = True
    expected: dict[str, Expectation] = {}
    try:
        table = open_target(home.crontab).read() or b""
        entries = entries_of(table, home)
    except MaejobsError as error:
        schedule_known = False
        trouble.append(str(error))
    try:
        if home.exists:  # before `init` there is no database to miss
            expected = read_expectations(home, patience)
    except MaejobsError as error:
        trouble.append(f"how long runs take is not known: {error}")
    jobs, unread = planned_jobs(entries, home.jobs_dir, expected, dialect_of(home))
    zone = zone_of_slots(home, table)
    outlook = look_ahead(jobs, clock.now(), days, zone)
    return replace(outlook, schedule_known=schedule_known), trouble + unread


def _host_gpus(jobs: Iterable[PlannedJob]) -> int:
    """How many GPUs of the host can be used; where it cannot be asked, as many as jobs ask for."""
    wanted = max((job.gpus for job in jobs), default=0)
    if not wanted:
        return 0
    try:
        return sum(not gpu.trouble for gpu in read_gpus())
    except NoGpus:
        return max(wanted, len({lock for job in jobs for lock in job.locks if is_gpu(lock)}))


def read_expectations(home: Home, patience: float) -> dict[str, Expectation]:
    """What the database lets expect of each job. Raises DatabaseUnavailable."""
    from maejobs.rundb.database import open_database
    from maejobs.rundb.queries import measured_runs

    with acting_as(owner_of(home.root)), open_database(home, patience) as engine:
        return expectations(PastRun(**row._mapping) for row in measured_runs(engine))


def planned_jobs(
    entries: Iterable[Entry],
    jobs_dir: Path,
    expected: dict[str, Expectation],
    dialect: Dialect = Dialect.DEBIAN,
) -> tuple[list[PlannedJob], list[str]]:
    """The jobs of `entries`, by name; and what of them cannot be read, which is left out.

    A job whose file is bad is planned as far as its slots go.
    """
    trouble: list[str] = []
    expressions: dict[str, list[Expression]] = {}
    for entry in entries:
        try:
            expression = parse_expression(entry.expression, dialect)
        except BadExpression as error:
            trouble.append(f"{entry.job}: {error}")
        else:
            expressions.setdefault(entry.job, []).append(expression)
    jobs = []
    for name in sorted(expressions):
        known = expected.get(name, UNKNOWN)
        try:
            file = load_job(jobs_dir, name)
        except UserError as error:
            # Nobody has asked for this job: why a line of the crontab's names it is to be told.
            gone = f"the line of {name} has no job file; `maejobs apply {name} --prune` drops it"
            trouble.append(gone if isinstance(error, NoJobFile) else str(error))
            jobs.append(PlannedJob(name, tuple(expressions[name]), expected=known))
            continue
        jobs.append(
            PlannedJob(
                name,
                tuple(expressions[name]),
                file.until,
                file.timeout,
                file.grace,
                file.overlap,
                file.wait,
                frozenset(file.locks),
                file.gpu.count if file.gpu else 0,
                file.gpu.wait if file.gpu else timedelta(0),
                known,
                tuple(_asks(file)),
            )
        )
    return jobs, trouble


def _asks(job: Job) -> Iterator[str]:
    """What the job's gates look at on the host, in words."""
    if job.disk and job.disk.free:
        yield f"{naturalsize(job.disk.free)} free"
    if job.disk and job.disk.checkpoints:
        yield f"room for {job.disk.checkpoints} checkpoint{'s' * (job.disk.checkpoints > 1)}"
    if job.host and job.host.load is not None:
        yield f"load up to {job.host.load:g} a core"
    if job.host and job.host.battery is not None:
        yield f"battery from {job.host.battery:.0%}"
