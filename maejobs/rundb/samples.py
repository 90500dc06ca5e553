"""What a run took of its host, sample by sample: from a file of its directory into the database."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Row, func, insert, select, update

from maejobs import clock
from maejobs.rundb.database import reading
from maejobs.rundb.events import Event, read_events
from maejobs.rundb.schema import runs, samples

SAMPLES_NAME = "samples.jsonl"  # in the run's directory
SAMPLE = "sample"
WHOLE = ("memory", "bytes_read", "bytes_written", "disk_free", "gpu_memory")
FRACTIONS = ("cpu", "gpu_utilisation", "gpu_power", "gpu_temperature")
WITH_PEAK = ("cpu", "memory", "gpu_memory", "gpu_power")


def ingest_samples(engine: Engine, run_id: str, file: Path) -> int:
    """Take up what `file` holds beyond the run's `samples_offset`; the number of new samples.

    It is a stream of `sample` events, written by the supervisor, and read as carefully as the
    command's own. Each batch and its offset are one transaction.
    """
    taken = func.coalesce(runs.c.samples_offset, 0)
    with reading(engine) as connection:
        offset = connection.execute(select(taken).where(runs.c.id == run_id)).scalar()
    if offset is None:
        return 0
    count = 0
    for batch in read_events(file, offset, clock.now()):
        rows = [row for event in batch.events if (row := _row(run_id, event))]
        with engine.begin() as connection:
            changed = connection.execute(
                update(runs)
                .where(runs.c.id == run_id, taken == offset)
                .values(samples_offset=batch.offset, samples_step=0)
            )
            if changed.rowcount != 1:
                return count  # somebody else took this batch up
            if rows:
                connection.execute(insert(samples), rows)
        count += len(rows)
        offset = batch.offset
    return count


def _row(run_id: str, event: Event) -> dict[str, Any] | None:
    seconds = event.number("seconds")
    if event.kind != SAMPLE or seconds is None:
        return None
    values: dict[str, float | None] = {name: event.integer(name) for name in WHOLE}
    values |= {name: event.number(name) for name in FRACTIONS}
    peaks = {f"{name}_peak": values[name] for name in WITH_PEAK}
    base = {"run": run_id, "offset": event.offset, "time": event.time, "seconds": seconds}
    return base | values | peaks


def samples_of(engine: Engine, run_id: str) -> list[Row[Any]]:
    """The run's samples, oldest first."""
    query = select(samples).where(samples.c.run == run_id).order_by(samples.c.offset)
    with reading(engine) as connection:
        return list(connection.execute(query))
