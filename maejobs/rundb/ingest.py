"""Takes a run's event stream up into the database, each byte once."""

import math
import time
from pathlib import Path

from sqlalchemy import Connection, Engine, insert, select, update

from maejobs import clock
from maejobs.rundb.database import reading
from maejobs.rundb.events import EVENTS_NAME, Batch, Event, read_events
from maejobs.rundb.samples import SAMPLES_NAME, ingest_samples
from maejobs.rundb.schema import checkpoints, events, jobs, metrics, runs

RESUMED_FROM = "checkpoint_in"  # the name of the artifact event that says what a run went on from


def ingest(engine: Engine, run_id: str, stream: Path, give_up: float = math.inf) -> int:
    """Take up what `stream` holds beyond the run's `events_offset`; the number of new events.

    Not all of it where the steady clock (`time.monotonic`) shows `give_up` before: a command may
    write faster than anybody takes up.
    Each batch and its offset are one transaction, so that doing it twice, or dying in the middle,
    neither loses nor doubles an event.
    """
    with reading(engine) as connection:
        query = select(runs.c.events_offset).where(runs.c.id == run_id)
        offset = connection.execute(query).scalar()
    if offset is None:
        return 0
    count = 0
    for batch in read_events(stream, offset, clock.now()):
        with engine.begin() as connection:
            if not _advance(connection, run_id, offset, batch):
                return count  # somebody else took this batch up
            _store(connection, run_id, batch)
        count += len(batch.events)
        offset = batch.offset
        if time.monotonic() >= give_up:
            break
    return count


def ingest_directory(
    engine: Engine, run_id: str, directory: Path, give_up: float = math.inf
) -> int:
    """Take up what the run's `directory` tells, events and samples; the number of new events.

    `give_up` is `ingest`'s.
    """
    count = ingest(engine, run_id, directory / EVENTS_NAME, give_up)
    ingest_samples(engine, run_id, directory / SAMPLES_NAME)
    return count


def _advance(connection: Connection, run_id: str, offset: int, batch: Batch) -> bool:
    changed = connection.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.events_offset == offset)
        .values(events_offset=batch.offset, broken_events=runs.c.broken_events + batch.broken)
    )
    return changed.rowcount == 1


def _store(connection: Connection, run_id: str, batch: Batch) -> None:
    changes: dict[str, object] = {}
    rows: dict[str, list[dict[str, object]]] = {"metric": [], "checkpoint": [], "event": []}
    for event in batch.events:
        base = {"run": run_id, "offset": event.offset, "time": event.time}
        if event.kind == "progress":
            changes |= _progress(event)
        elif name := event.metric():
            rows["metric"].append(
                base | {"name": name, "step": event.integer("step"), "value": event.number("value")}
            )
        elif event.kind == "checkpoint" and (path := event.words("path")):
            rows["checkpoint"].append(
                base
                | {
                    "path": path,
                    "step": event.integer("step"),
                    "bytes": event.integer("bytes"),
                    "sha256": event.words("sha256"),
                }
            )
            changes["checkpoint_out"] = path
        else:
            rows["event"].append(base | {"kind": event.kind, "body": event.body})
            changes |= _what_it_says_of_the_run(event)
    for table, kind in ((metrics, "metric"), (checkpoints, "checkpoint"), (events, "event")):
        if rows[kind]:
            connection.execute(insert(table), rows[kind])
    if changes:
        connection.execute(update(runs).where(runs.c.id == run_id).values(**changes))
    summed_up = {f"last_{key}": changes[key] for key in ("outcome", "reason") if key in changes}
    if summed_up:
        connection.execute(update(jobs).where(jobs.c.last_run == run_id).values(**summed_up))


def _progress(event: Event) -> dict[str, object]:
    """What the event says, and no more: a total told once stays."""
    values = {
        "step": event.integer("step"),
        "total_steps": event.integer("total"),
        "epoch": event.number("epoch"),
    }
    return {name: value for name, value in values.items() if value is not None}


def _what_it_says_of_the_run(event: Event) -> dict[str, str]:
    if event.kind == "outcome" and (status := event.words("status")):
        reason = event.words("reason")
        return {"outcome": status} | ({"reason": reason} if reason else {})
    if event.kind == "artifact" and event.body.get("name") == RESUMED_FROM:
        path = event.words("path")
        return {"checkpoint_in": path} if path else {}
    return {}
