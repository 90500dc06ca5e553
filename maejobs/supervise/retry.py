"""Whether a run that failed is tried again, and after how long."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from maejobs.jobs.failures import INFRASTRUCTURE
from maejobs.jobs.model import Job
from maejobs.supervise.child import Signals

# Reasons for which a gate skips a try, and which may have passed by the next. Not so what somebody
# wants so: a pause, or another run of the job.
MAY_PASS = frozenset({"disk_low", "locked", "host_busy", "on_battery", "gpu_busy", "no_gpu"})
LONGEST_DELAY = timedelta(hours=1)  # where doubling ends, unless the job's own delay is longer


def next_try(
    job: Job, failures: Sequence[str | None], closes: datetime | None, now: datetime
) -> timedelta | None:
    """How long to wait before the next try; None: there is none. Pure.

    `failures` are the classes of the tries so far, the newest last; of one that a gate skipped, the
    reason. Infrastructure's are counted against an allowance of their own, so that a GPU that was
    taken uses up no try of a command that fails now and then. What was skipped at the first try is
    not tried again. The first delay is the job's, each further one twice as long.
    """
    newest = failures[-1]
    if newest not in job.retry and not (newest in MAY_PASS and len(failures) > 1):
        return None
    hosts = MAY_PASS.union(INFRASTRUCTURE)
    is_hosts = newest in hosts
    alike = sum((failure in hosts) == is_hosts for failure in failures)
    if alike > (job.infrastructure_retries if is_hosts else job.retries):
        return None
    delay = job.retry_delay
    for _ in failures[1:]:
        delay = min(2 * delay, max(job.retry_delay, LONGEST_DELAY))
    if closes is not None and now + delay >= closes:
        return None
    return delay


def wait(delay: timedelta, signals: Signals) -> bool:
    """Wait so long; whether nobody told us to stop meanwhile."""
    give_up = time.monotonic() + delay.total_seconds()
    while time.monotonic() < give_up:
        if signals.count:
            return False
        time.sleep(0.2)
    return not signals.count
