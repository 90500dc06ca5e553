"""What `schedule` says before it writes: when the job runs next, and what is in its way."""

from collections.abc import Iterable
from datetime import datetime, tzinfo
from itertools import islice, takewhile
from typing import Any

import click

from maejobs import clock
from maejobs.cli import plan
from maejobs.cli.output import local, relative
from maejobs.cron.block import Entry, read_entries
from maejobs.cron.dialect import dialect_of
from maejobs.cron.fires import fires
from maejobs.cron.grammar import Expression
from maejobs.cron.install import Change
from maejobs.cron.schedule import belongs_to
from maejobs.errors import MaejobsError, UserError
from maejobs.home import Home
from maejobs.shipped import shipped
from maejobs.watch import wording
from maejobs.watch.expectation import Expectation
from maejobs.watch.outlook import Outlook, look_ahead, planned_jobs, read_expectations
from maejobs.watch.plan import Firing

DAYS = 7
SHOWN_FIRES = 3
PATIENCE_SECONDS = 0.5  # with a database that others hold: the schedule does not need it


def known_lengths(home: Home) -> tuple[dict[str, Expectation], list[str]]:
    """How long each job's runs take, and why that is not known, where it is not."""
    try:
        # Before `init` there is no database to miss.
        return (read_expectations(home, PATIENCE_SECONDS) if home.exists else {}), []
    except MaejobsError as error:
        return {}, [f"how long runs take is not known: {error}"]


def foresee(
    home: Home,
    entries: Iterable[Entry],
    job: str,
    expected: dict[str, Expectation],
    zone: tzinfo,
) -> tuple[Outlook, list[str]]:
    """The job's coming week among `entries`, cron's in `zone`; and what of them cannot be read.

    Only jobs that share a lock or the GPUs with it are looked at: no other gets in its way.
    Raises UserError for more slots than can be looked through.
    """
    ours = [entry for entry in entries if belongs_to(entry, home)]
    jobs_dir = home.jobs_dir if home.exists else shipped("jobs.d")
    jobs, unread = planned_jobs(ours, jobs_dir, expected, dialect_of(home))
    own = [planned for planned in jobs if planned.name == job]
    near = [other for other in jobs if any(map(other.may_be_in_the_way_of, own))]
    return plan.only(look_ahead(near, clock.now(), DAYS, zone), job), unread


def try_to_foresee(
    home: Home, change: Change, job: str, expected: dict[str, Expectation], zone: tzinfo
) -> tuple[Outlook | None, list[str]]:
    """As `foresee`, of a changed table; None, and why, where the week cannot be looked through."""
    try:
        return foresee(home, read_entries(change.after), job, expected, zone)
    except UserError as error:
        return None, [f"the coming week is not looked through: {error}"]


def refuse_collisions(outlook: Outlook) -> None:
    """Raise UserError for the first slot that would be lost because of another run."""
    for problem in outlook.problems:
        if problem.costs_a_run:
            raise UserError(f"{problem.text}; nothing was written (--strict)")


def next_fires(expression: Expression, zone: tzinfo) -> list[datetime]:
    """The next few slots of the expression."""
    return list(islice(fires(expression, clock.now(), zone), SHOWN_FIRES))


def as_json_object(outlook: Outlook | None) -> dict[str, Any] | None:
    """As `maejobs plan JOB --days 7 --json` prints it."""
    return plan.as_json_object(outlook) if outlook else None


def print_problems_of(outlook: Outlook | None) -> None:
    """A line each, none where nothing is known."""
    plan.print_problems(outlook.problems if outlook else ())


def tell_double_slots(outlook: Outlook | None) -> None:
    """Warn of the first minute for which two entries of a job call: one run is all that starts."""
    if outlook is None:
        return
    for planned in outlook.jobs:
        calls: dict[datetime, str] = {}
        for expression in planned.expressions:
            coming = fires(expression, outlook.after, outlook.zone)
            for slot in takewhile(lambda at: at <= outlook.until, coming):
                other = calls.setdefault(slot, expression.text)
                if other != expression.text:
                    at = local(slot, outlook.zone)
                    told = f"both call for {at}, and one of them finds the slot taken"
                    said = f"`{other}` and `{expression.text}` of {planned.name} {told}"
                    click.echo(f"maejobs: {said}", err=True)
                    return


def print_next(expression: Expression, outlook: Outlook | None, zone: tzinfo) -> None:
    """A line a slot, with its expected end where the past tells it."""
    if expression.reboot:
        click.echo("next: when the host starts")
        return
    firings = {firing.slot: firing for firing in outlook.firings} if outlook else {}
    for slot in next_fires(expression, zone):
        ends = _ends(firings[slot], zone) if slot in firings else ""
        click.echo(f"next: {local(slot, zone)} ({relative(slot)}){ends}")


def _ends(firing: Firing, zone: tzinfo) -> str:
    usual, long = firing.usual_end, firing.long_end
    if usual is None or long is None:
        return ""
    until = wording.near(usual, firing.slot, zone)
    longest = wording.near(long, firing.slot, zone)
    return f", until {until}" + (f", on a long day {longest}" if longest != until else "")
