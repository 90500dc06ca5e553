"""Which slot that nobody started is made up for. Pure: what is known of it in, the verdict out."""

from dataclasses import dataclass
from datetime import datetime, tzinfo

from maejobs.jobs.deadline import deadline_of
from maejobs.jobs.model import Job
from maejobs.rundb.run import NEVER_CALLED


@dataclass(frozen=True)
class Newest:
    """A job's newest slot: its state, when the next comes, and what else is known of the job."""

    slot: datetime
    state: str
    next_slot: datetime | None
    last_success: datetime | None
    held: bool  # a run of the job goes on, or the job is paused


def is_caught_up(job: Job, newest: Newest, now: datetime, zone: tzinfo) -> bool:
    """Whether a run is started for the slot now.

    Not where the job does not ask for it, where it has become too late, by `catch_up_within` or by
    its deadline, or where something else made up for it: a later slot, a run by hand that ended
    well.
    """
    if job.catch_up == "none" or newest.state not in NEVER_CALLED or newest.held:
        return False
    if now - newest.slot > job.catch_up_within:
        return False
    if newest.next_slot is not None and newest.next_slot <= now:
        return False
    if newest.last_success is not None and newest.last_success > newest.slot:
        return False
    deadline = deadline_of(newest.slot, now, job.until, job.timeout, zone)
    return deadline is None or now < deadline
