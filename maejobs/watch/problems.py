"""What will go wrong with what is planned, each told once. Pure: firings in, problems out."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import TypeVar

from maejobs.cron.clock_changes import ClockChange, clock_changes, surprise
from maejobs.watch import wording
from maejobs.watch.collisions import Collision, Effect, collisions
from maejobs.watch.plan import Firing, PlannedJob

T = TypeVar("T")


class Kind(StrEnum):
    """Collision: two jobs need one lock. Overrun: a job's next slot comes while its run goes on.

    Deadline: a run is stopped before it is done. Clock: daylight saving moves, skips or doubles a
    slot, or changes the length of a night.
    """

    COLLISION = "collision"
    OVERRUN = "overrun"
    DEADLINE = "deadline"
    CLOCK = "clock"


@dataclass(frozen=True)
class Problem:
    """What goes wrong with `count` slots of `job`, of which `first` is the first.

    `other` is the job in the way, `lock` what both need, `effect` what becomes of the slot; None
    where there is none. `certain`: so of runs of the usual length, not of long ones only.
    """

    kind: Kind
    job: str
    first: datetime
    count: int
    text: str
    other: str | None = None
    lock: str | None = None
    effect: Effect | None = None
    certain: bool = True

    @property
    def costs_a_run(self) -> bool:
        """Whether a run is not started, or is stopped, because of another."""
        return self.effect in (Effect.SKIPPED, Effect.REPLACES)

    def concerns(self, job: str) -> bool:
        """Whether it is the job that suffers, or that is in the way."""
        return job in (self.job, self.other)


def problems(
    jobs: Iterable[PlannedJob],
    firings: Sequence[Firing],
    after: datetime,
    until: datetime,
    zone: tzinfo,
    gpus: int = 0,
) -> list[Problem]:
    """All that goes wrong with `firings`, those of `jobs` after `after` and up to `until`.

    `gpus` is how many the host has.

    In order of when each first does; what happens again and again is one problem with a count.
    Texts tell local time in `zone`.
    """
    stopped = (firing for firing in firings if _is_stopped(firing))
    found = [
        *(
            _collision(first, count, zone)
            for first, count in _folded(collisions(firings, gpus), _alike)
        ),
        *(_deadline(first, count, zone) for first, count in _folded(stopped, _job)),
    ]
    for change in clock_changes(after, until, zone):
        found += _moved_slots(jobs, change, zone)
        nights = (firing for firing in firings if _spans(firing, change))
        found += (_changed_night(first, change, zone) for first, _ in _folded(nights, _job))
    return sorted(found, key=lambda problem: (problem.first, problem.job))


def _folded(items: Iterable[T], key: Callable[[T], Hashable]) -> list[tuple[T, int]]:
    """The first of the items that are alike, and how many these are."""
    alike: dict[Hashable, tuple[T, int]] = {}
    for item in items:
        first, count = alike.get(key(item), (item, 0))
        alike[key(item)] = first, count + 1
    return list(alike.values())


def _job(firing: Firing) -> str:
    return firing.job.name


def _alike(collision: Collision) -> Hashable:
    first, second = collision.first.job.name, collision.second.job.name
    return first, second, collision.lock, collision.effect, collision.certain, collision.at_once


def _collision(collision: Collision, count: int, zone: tzinfo) -> Problem:
    own = collision.lock is None
    return Problem(
        Kind.OVERRUN if own else Kind.COLLISION,
        collision.second.job.name,
        collision.second.slot,
        count,
        wording.collision(collision, zone),
        None if own else collision.first.job.name,
        collision.lock,
        collision.effect,
        collision.certain,
    )


def _is_stopped(firing: Firing) -> bool:
    """Whether its deadline comes before it is done, as a rule; a campaign's night is done then."""
    expected = firing.job.expected
    if firing.deadline is None or expected.usual is None:
        return False
    return expected.overruns_often or firing.slot + expected.usual >= firing.deadline


def _deadline(firing: Firing, count: int, zone: tzinfo) -> Problem:
    text = wording.stopped(firing, zone)
    return Problem(Kind.DEADLINE, firing.job.name, firing.slot, count, text)


def _moved_slots(
    jobs: Iterable[PlannedJob], change: ClockChange, zone: tzinfo
) -> Iterator[Problem]:
    for job in jobs:
        for expression in job.expressions:
            if met := surprise(expression, change):
                text = wording.moved_slot(job.name, expression.text, change, *met, zone)
                yield Problem(Kind.CLOCK, job.name, change.at, 1, text)


def _spans(firing: Firing, change: ClockChange) -> bool:
    """Whether the change makes it nearer or further to the time of day that ends the run."""
    if firing.deadline is None or not firing.slot < change.at < firing.deadline:
        return False
    return firing.job.timeout is None or firing.deadline < firing.slot + firing.job.timeout


def _changed_night(firing: Firing, change: ClockChange, zone: tzinfo) -> Problem:
    text = wording.changed_night(firing, change, zone)
    return Problem(Kind.CLOCK, firing.job.name, firing.slot, 1, text)
