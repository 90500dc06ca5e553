"""How long a job is expected to take, by its past runs. Pure: lengths in, expectations out."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from maejobs.rundb.events import PAUSED
from maejobs.rundb.run import TIMED_OUT


@dataclass(frozen=True)
class PastRun:
    """A run that succeeded or timed out: a row of `rundb.queries.measured_runs`."""

    job: str
    state: str
    outcome: str | None
    started: datetime
    finished: datetime
    deadline: datetime | None


@dataclass(frozen=True)
class Expectation:
    """Half of a job's runs take no longer than `usual` (p50), 95 % no longer than `long` (p95).

    `to_deadline`: most of its runs stop in good order at their deadline, as a campaign's nights do;
    their lengths say nothing of what the work would take, so none is given. `overruns` of the
    `runs` looked at were told to stop at their deadline and did not end well.
    """

    usual: timedelta | None = None
    long: timedelta | None = None
    to_deadline: bool = False
    runs: int = 0
    overruns: int = 0

    @property
    def overruns_often(self) -> bool:
        """Whether its deadline is too early, as a rule."""
        return 2 * self.overruns > self.runs


UNKNOWN = Expectation()


def percentile(values: Sequence[timedelta], percent: int) -> timedelta:
    """The smallest of `values` that `percent` % of them do not exceed (nearest rank).

    Of fewer than twenty values the 95th is the largest.
    """
    rank = -(-len(values) * percent // 100)
    return sorted(values)[max(rank, 1) - 1]


def expectations(runs: Iterable[PastRun]) -> dict[str, Expectation]:
    """What is to be expected of each job that has runs."""
    by_job = defaultdict(list)
    for run in runs:
        by_job[run.job].append(run)
    return {job: expectation(past) for job, past in by_job.items()}


def expectation(runs: Sequence[PastRun]) -> Expectation:
    """What the job's past runs let expect. What timed out took at least as long as it was let."""
    lengths = [run.finished - run.started for run in runs if not _stopped_well(run)]
    overruns = sum(run.state == TIMED_OUT for run in runs)
    if 2 * len(lengths) < len(runs):
        return Expectation(to_deadline=True, runs=len(runs), overruns=overruns)
    if not lengths:
        return UNKNOWN
    usual, long = percentile(lengths, 50), percentile(lengths, 95)
    return Expectation(usual, long, runs=len(runs), overruns=overruns)


def _stopped_well(run: PastRun) -> bool:
    """Whether it was its deadline that ended it, and in good order."""
    if run.state == TIMED_OUT:
        return False
    return run.outcome == PAUSED or (run.deadline is not None and run.finished >= run.deadline)
