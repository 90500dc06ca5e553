"""Which firings need what another still holds. Pure; one sweep over the firings in order."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from maejobs.errors import UserError
from maejobs.watch.plan import Firing

GPU = "a GPU"  # whichever is free; no lock's name has a blank
MOST_COLLISIONS = 1_000_000


class Effect(StrEnum):
    """What the gates do with the second of two (supervise/gates.py, `take_locks`); worst first."""

    SKIPPED = "skipped"
    REPLACES = "replaces"  # the job's run before it is stopped
    WAITS = "waits"


@dataclass(frozen=True)
class Collision:
    """`second` comes while `first` may hold `lock`; None: the job's own, one run at a time."""

    first: Firing
    second: Firing
    lock: str | None

    @property
    def at_once(self) -> bool:
        """Whether both have one slot, so that either may be the first."""
        return self.first.slot == self.second.slot

    @property
    def effect(self) -> Effect:
        """What happens when it comes to it, at the worst.

        Named locks are waited for, but take nobody's place.
        """
        effects = [_effect(self.first, self.second, self.lock)]
        if self.at_once:
            effects.append(_effect(self.second, self.first, self.lock))
        return min(effects, key=list(Effect).index)

    @property
    def certain(self) -> bool:
        """Whether that is so of runs of the usual length, and not of long or unknown ones only."""
        first, second = self.first, self.second
        if self.at_once and not (_waits(first, self.lock) or _waits(second, self.lock)):
            return True
        skipped = self.effect is Effect.SKIPPED
        patience = _patience(second, self.lock) if skipped else timedelta(0)
        return first.usual_end is not None and first.usual_end - second.slot > patience


def _effect(first: Firing, second: Firing, lock: str | None) -> Effect:
    if second.job.overlap == "replace" and lock is None:
        return Effect.REPLACES
    if _waits(second, lock) and _end(first) - second.slot <= _patience(second, lock):
        return Effect.WAITS
    return Effect.SKIPPED


def _waits(firing: Firing, lock: str | None) -> bool:
    return bool(firing.job.gpu_wait) if lock == GPU else firing.job.overlap == "wait"


def _patience(second: Firing, lock: str | None) -> timedelta:
    """How long it waits for a lock: as its file says, but not past the end of its window."""
    if not _waits(second, lock):
        return timedelta(0)
    wait = second.job.gpu_wait if lock == GPU else second.job.wait
    return wait if second.closes is None else min(wait, second.closes - second.slot)


def collisions(firings: Iterable[Firing], gpus: int = 0) -> Iterator[Collision]:
    """Every firing that comes while an entry's earlier run may still hold what it needs.

    Of the host's `gpus` a job asks for some: where those held leave too few, all who hold one are
    in its way.
    `firings` are in order of their slots. Of an entry that may hold it by several runs the one
    that may last longest is named, and of several locks that two jobs share the first. A run whose
    length nothing bounds is held against those of its own slot only; one whose length is not known
    is not held against its own entry: that would accuse every frequent job with a timeout. One that
    is surely skipped holds nothing. Raises UserError for more than `MOST_COLLISIONS`.
    """
    holding: dict[str, dict[tuple[str, str], Firing]] = defaultdict(dict)
    count = 0
    for second in firings:
        met = _met(second, holding, gpus)
        yield from met
        count += len(met)
        if count > MOST_COLLISIONS:
            raise UserError(
                f"more than {MOST_COLLISIONS:,} collisions until {second.slot:%Y-%m-%d}: too many "
                "to look through"
            )
        if any(c.effect is Effect.SKIPPED and c.certain and not c.at_once for c in met):
            continue
        entry = second.job.name, second.expression.text
        for lock in _needs(second):
            held = holding[lock]
            if entry not in held or _end(held[entry]) < _end(second):
                held[entry] = second


def _met(
    second: Firing, holding: dict[str, dict[tuple[str, str], Firing]], gpus: int
) -> list[Collision]:
    """The collisions of `second` with what holds its locks; what has let go is dropped."""
    met: dict[tuple[str, str], Collision] = {}
    for lock in _needs(second):
        held = holding[lock]
        for entry in [e for e, first in held.items() if not _reaches(first, second.slot)]:
            del held[entry]
        in_the_way = {e: first for e, first in held.items() if not _excused(first, second)}
        if lock == GPU:
            in_the_way = _too_many(in_the_way, second, gpus)
        for entry, first in in_the_way.items():
            own = lock == _own(second)
            met.setdefault(entry, Collision(first, second, None if own else lock))
    return list(met.values())


def _too_many(
    held: dict[tuple[str, str], Firing], second: Firing, gpus: int
) -> dict[tuple[str, str], Firing]:
    """Those in the way because too few GPUs are left: who surely holds one, if that is enough.

    Otherwise those who only may. Who names a GPU is in the way of its namers, elsewhere.
    """
    others = {entry: first for entry, first in held.items() if first.job is not second.job}
    sure = {entry: first for entry, first in others.items() if _surely_reaches(first, second.slot)}
    for who in (sure, others):
        asked = second.job.gpus_held + sum(first.job.gpus_held for first in who.values())
        if asked > gpus:
            blamed = who if who is sure else {e: f for e, f in others.items() if e not in sure}
            return {e: f for e, f in blamed.items() if f.job.gpus or second.job.gpus}
    return {}


def _surely_reaches(first: Firing, slot: datetime) -> bool:
    return first.slot == slot or (first.usual_end is not None and first.usual_end > slot)


def _needs(firing: Firing) -> list[str]:
    """The locks it takes, in the order in which it takes them: its own first."""
    any_gpu = [GPU] if firing.job.gpus_held else []
    return [_own(firing), *sorted(firing.job.locks), *any_gpu]


def _own(firing: Firing) -> str:
    return f" {firing.job.name}"  # no lock's name has a blank


def _reaches(first: Firing, slot: datetime) -> bool:
    return slot < _end(first) or slot == first.slot


def _end(firing: Firing) -> datetime:
    return firing.busy_until or firing.slot


def _excused(first: Firing, second: Firing) -> bool:
    same_entry = first.job is second.job and first.expression == second.expression
    return same_entry and first.long_end is None
