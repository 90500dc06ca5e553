"""Whether a run that succeeded was suspiciously fast or slow, by the job's own past."""

import logging
from collections.abc import Sequence
from math import exp, log
from statistics import median

from maejobs.home import Home
from maejobs.rundb.database import hurried_database
from maejobs.rundb.queries import lengths_of_successes

FAST, SLOW = "fast", "slow"
ENOUGH, MOST = 5, 20  # successes that a run is compared with
DEVIATIONS = 5.0  # median absolute deviations, scaled to standard ones
LEAST_FACTOR = 2.0  # of the median: what differs by less surprises nobody
LEAST_SECONDS = 10.0  # the same in seconds
SHORTEST = 1.0  # seconds; what is shorter counts as this
MAD_TO_DEVIATION = 1.4826
PATIENCE_SECONDS = 0.5  # for a locked database: a flag is not worth more
_log = logging.getLogger(__name__)


def pace_of(seconds: float, past: Sequence[float]) -> str | None:
    """`FAST`, `SLOW`, or None, for a run of this length after those, newest first. Pure.

    Lengths are compared as logarithms, so that half the time is as far off as double the time. A
    job whose runs differ widely is given as much room.
    """
    recent = [log(max(length, SHORTEST)) for length in past[:MOST]]
    if len(recent) < ENOUGH:
        return None
    middle = median(recent)
    deviation = MAD_TO_DEVIATION * median(abs(value - middle) for value in recent)
    off = log(max(seconds, SHORTEST)) - middle
    if abs(off) < max(DEVIATIONS * deviation, log(LEAST_FACTOR)):
        return None
    if abs(seconds - exp(middle)) < LEAST_SECONDS:
        return None
    return SLOW if off > 0 else FAST


def past_lengths(home: Home, job: str) -> list[float]:
    """Seconds that the job's newest successes took; none while the database is away."""
    try:
        with hurried_database(home, PATIENCE_SECONDS) as engine:
            return lengths_of_successes(engine, job, MOST)
    except Exception as error:  # whatever it is, the run's own verdict stands
        _log.debug("the pace of %s is not judged: %s", job, error)
        return []
