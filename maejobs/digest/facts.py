"""What a digest tells, and what of it asks for a person. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo

from maejobs.rundb.run import SKIPPED, SUCCEEDED, UNKNOWN

PAUSED = "paused"  # the reason of a slot that was skipped
BAD = frozenset({"failed", "timed_out", "lost", "missed"})
MOST_LINES = 6  # of a job: what runs each minute is told in one, and what of it went wrong


@dataclass(frozen=True)
class RunFact:
    """A run of the night: its last try, if it had several."""

    run: str
    job: str
    state: str
    why: str
    slot: datetime | None
    started: datetime | None
    finished: datetime | None
    step: int | None
    total_steps: int | None
    tries: int


@dataclass(frozen=True)
class Safety:
    """A campaign's newest valid checkpoint, and its newest valid copy, by step; None: it has none.

    `damaged` are newer ones that no training could go on from. `backup` is where copies are to go;
    None: no job makes any.
    """

    campaign: str
    step: int | None
    damaged: tuple[str, ...]
    backup: str | None
    backup_step: int | None


@dataclass(frozen=True)
class Coming:
    """A slot that comes, and when its run ends as a rule; None: that is not known.

    `times`: so many come of the job, this one the first; the others are not told one by one.
    """

    job: str
    slot: datetime
    end: datetime | None
    times: int = 1


@dataclass(frozen=True)
class Picture:
    """A PNG that a run drew."""

    run: str
    name: str
    data: bytes


@dataclass(frozen=True)
class Digest:
    """From `since` to `now`, on `host`, where clocks show `zone`. `problems` are sentences.

    `alerts` are the jobs that somebody was told are bad; `unsent` so many messages wait;
    `trouble` is what could not be read; `runs_known`, `schedule_known`: neither the database nor
    the crontab was among it.
    """

    host: str
    since: datetime
    now: datetime
    zone: tzinfo
    runs: tuple[RunFact, ...]
    safety: tuple[Safety, ...]
    coming: tuple[Coming, ...]
    problems: tuple[str, ...]
    alerts: tuple[str, ...]
    unsent: int
    trouble: tuple[str, ...]
    pictures: tuple[Picture, ...] = ()
    runs_known: bool = True
    schedule_known: bool = True


def to_do(digest: Digest) -> list[str]:
    """What a person must look at, the worst first; []: nothing."""
    return [
        *dict.fromkeys(_unsafe(digest)),  # a campaign may be copied to several places
        *_bad_runs(digest),
        *_did_not_run(digest),
        *(f"cannot be read: {line}" for line in digest.trouble),
        *([f"{digest.unsent} alerts or pings are not taken"] if digest.unsent else []),
    ]


def _unsafe(digest: Digest) -> Iterator[str]:
    for one in digest.safety:
        if one.step is None:
            yield f"{one.campaign} has no valid checkpoint"
        for name in one.damaged:
            yield f"{one.campaign}: {name} is damaged"
        if one.step is not None and one.backup is not None and one.backup_step is None:
            yield f"{one.campaign} has no valid copy in {one.backup}"


def _bad_runs(digest: Digest) -> Iterator[str]:
    """Jobs whose newest run of the night ended badly."""
    newest: dict[str, RunFact] = {}
    for run in digest.runs:
        if run.state in BAD or run.state == SUCCEEDED:
            newest[run.job] = run
    for job, run in sorted(newest.items()):
        if run.state in BAD:
            why = f" ({run.why})" if run.why else ""
            yield f"{job}: {run.state}{why}; `maejobs logs {run.run}`"


def _did_not_run(digest: Digest) -> Iterator[str]:
    """Jobs that had slots and came to nothing in any, but for those that somebody has paused."""
    idle: dict[str, RunFact] = {}
    for run in digest.runs:
        if run.state in (SKIPPED, UNKNOWN):
            idle[run.job] = run
    for job in sorted(idle.keys() - {run.job for run in digest.runs if run.started}):
        run = idle[job]
        if run.state == UNKNOWN:
            yield f"{job} did not run: maejobs was not there"
        elif run.why != PAUSED:
            yield f"{job} did not run: skipped{f' ({run.why})' if run.why else ''}"


def headline(digest: Digest) -> str:
    """The night in a few words."""
    done = sum(run.state == SUCCEEDED for run in digest.runs)
    if digest.runs:
        told = f"{done} of {len(digest.runs)} runs succeeded"
    else:
        told = "nothing ran" if digest.runs_known else "what ran is not known"
    todo = to_do(digest)
    return f"{told}; {'all is well' if not todo else f'{len(todo)} to look at'}"
