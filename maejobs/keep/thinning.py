"""Samples thinned with age: full at first, then one a minute, then one an hour."""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Engine, delete, insert, select, update

from maejobs.rundb.database import reading
from maejobs.rundb.samples import WITH_PEAK, samples_of
from maejobs.rundb.schema import COARSEST_STEP, runs, samples

# How long after its end a run's samples stand for so many seconds each, at least; oldest first.
STEPS = ((timedelta(days=30), COARSEST_STEP), (timedelta(days=2), 60))
BATCH = 100  # runs that are looked for at once
LONGEST_SECONDS = 60.0  # of one call: the rest waits for the next
AVERAGED = ("cpu", "memory", "gpu_utilisation", "gpu_memory", "gpu_power")
WHOLE = frozenset({"memory", "gpu_memory"})

Sample = dict[str, Any]


class Thinned(NamedTuple):
    """How many runs' samples were thinned, or would be, and how many rows went with that."""

    runs: int
    samples: int


def step_for(age: timedelta) -> int:
    """Seconds that a sample of a run which ended so long ago stands for; 0: as taken. Pure."""
    return next((step for old, step in STEPS if age >= old), 0)


def thin(rows: Iterable[Sample], step: int) -> list[Sample]:
    """The samples, oldest first, merged into one for each `step` seconds of the clock. Pure.

    Averages are weighed by time, peaks and sums are kept, as is the least room on the disk. The
    new one has the place and the time of the last it is made of. To thin what has been thinned
    comes to the same as to thin what it was made of, but for rounding.
    """
    buckets = groupby(rows, key=lambda row: row["time"].timestamp() // step)
    return [_merge(list(bucket)) for _, bucket in buckets]


def thin_samples(engine: Engine, now: datetime, dry_run: bool = False) -> Thinned:
    """Thin the samples of all runs that are due, each run in a transaction of its own."""
    give_up = time.monotonic() + LONGEST_SECONDS
    count = gone = 0
    oldest: datetime | None = None  # what ended before has been seen to
    for old, step in STEPS:
        after = (oldest, "") if oldest else None
        oldest = now - old
        while batch := _due(engine, oldest, step, after):
            for run, finished in batch:
                if time.monotonic() > give_up:
                    return Thinned(count, gone)
                gone += _thin_run(engine, run, step, dry_run)
                count += 1
                after = (finished, run)
    return Thinned(count, gone)


def _due(
    engine: Engine, until: datetime, step: int, after: tuple[datetime, str] | None
) -> Sequence[Any]:
    """The next runs that ended by `until` and have finer samples than that.

    `after`: the end and the name of the last run that has been seen to.
    """
    query = (
        select(runs.c.id, runs.c.finished)
        .where(runs.c.samples_step < COARSEST_STEP)  # the index is of these
        .where(runs.c.samples_step < step, runs.c.finished <= until)
        .order_by(runs.c.finished, runs.c.id)
        .limit(BATCH)
    )
    if after is not None:
        finished, run = after
        later = (runs.c.finished > finished) | ((runs.c.finished == finished) & (runs.c.id > run))
        query = query.where(later)
    with reading(engine) as connection:
        return connection.execute(query).all()


def _thin_run(engine: Engine, run: str, step: int, dry_run: bool) -> int:
    """Thin one run's samples; how many rows fewer there are."""
    before = [dict(row._mapping) for row in samples_of(engine, run)]
    after = thin(before, step)
    if not dry_run:
        with engine.begin() as connection:
            if len(after) < len(before):
                offsets = [row["offset"] for row in before]
                mine = (samples.c.run == run, samples.c.offset <= offsets[-1])
                connection.execute(delete(samples).where(*mine))
                connection.execute(insert(samples), after)
            connection.execute(update(runs).where(runs.c.id == run).values(samples_step=step))
    return len(before) - len(after)


def _merge(rows: list[Sample]) -> Sample:
    """One for all of these, which follow each other."""
    merged = dict(rows[-1])
    merged["seconds"] = sum(row["seconds"] for row in rows)
    for name in AVERAGED:
        merged[name] = _average(rows, name)
    for name in (*(f"{name}_peak" for name in WITH_PEAK), "gpu_temperature"):
        merged[name] = max(_known(rows, name), default=None)
    for name in ("bytes_read", "bytes_written"):
        merged[name] = sum(_known(rows, name)) if _known(rows, name) else None
    merged["disk_free"] = min(_known(rows, "disk_free"), default=None)
    return merged


def _known(rows: list[Sample], name: str) -> list[Any]:
    return [row[name] for row in rows if row[name] is not None]


def _average(rows: list[Sample], name: str) -> float | None:
    known = [(row[name], row["seconds"]) for row in rows if row[name] is not None]
    weight = sum(seconds for _, seconds in known)
    if not weight:
        return known[-1][0] if known else None
    average = sum(value * seconds for value, seconds in known) / weight
    return round(average) if name in WHOLE else float(average)
