"""Takes old rows out of history in small bites, so that nobody who writes is kept waiting."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Double,
    Engine,
    Row,
    Table,
    and_,
    delete,
    exists,
    literal,
    or_,
    select,
    tuple_,
    type_coerce,
)

from maejobs.rundb.database import reading
from maejobs.rundb.run import UNFINISHED
from maejobs.rundb.schema import Instant, jobs, metadata, metrics, runs, samples

SERIES: tuple[Table, ...] = (metrics, samples)  # told or sampled often; they go before their run
PAGE = 1000  # runs looked at, at once
BITE = 500  # rows deleted in one transaction: some milliseconds
REST_SECONDS = 0.01  # between two, at least; a waiting writer looks again that often
LONGEST_REST_SECONDS = 0.2
PACKING_PATIENCE_SECONDS = 1.0


def nth_newest(engine: Engine, job: str, number: int) -> datetime | None:
    """When the job's newest run but `number - 1` was queued; None where it has fewer."""
    query = (
        select(runs.c.queued)
        .where(runs.c.job == job)
        .order_by(runs.c.queued.desc())
        .limit(1)
        .offset(max(number - 1, 0))
    )
    with reading(engine) as connection:
        return connection.execute(query).scalar()


def runs_to_keep(engine: Engine, job: str) -> dict[str, str]:
    """The runs of the job that history cannot do without, and why."""
    mine = select(runs.c.id).where(runs.c.job == job)
    newest_slot = mine.where(runs.c.slot.is_not(None)).order_by(
        runs.c.slot.desc(), runs.c.attempt.desc()
    )
    with_checkpoint = mine.where(runs.c.checkpoint_out.is_not(None)).order_by(runs.c.queued.desc())
    newest = mine.order_by(runs.c.queued.desc(), runs.c.attempt.desc(), runs.c.id.desc())
    last = select(jobs.c.last_run).where(jobs.c.name == job)  # older where it is still under way
    reasons = {
        "the newest checkpoint came from it": with_checkpoint,
        "of the newest slot": newest_slot,
        "the newest of its job": newest,
        "the last run of its job": last,
    }
    with reading(engine) as connection:
        found = {
            reason: connection.execute(query.limit(1)).scalar() for reason, query in reasons.items()
        }
    return {run: reason for reason, run in found.items() if run is not None}


def old_runs(engine: Engine, job: str, before: datetime) -> Iterator[Sequence[Row[Any]]]:
    """The job's runs queued before that, oldest first, a page at a time.

    Columns: id, state, queued, slot, finished, checkpoint_out, directory, has_series. Those of a
    page may be deleted before the next is asked for.
    """
    names = ("id", "state", "queued", "slot", "finished", "checkpoint_out", "directory")
    # Exactly as it is stored, for the next page goes on from there.
    exact = type_coerce(runs.c.queued, Double)
    has_series = or_(*(exists().where(table.c.run == runs.c.id) for table in SERIES))
    query = (
        select(*(runs.c[name] for name in names), has_series.label("has_series"), exact.label("at"))
        .where(runs.c.job == job, runs.c.queued < literal(before, Instant()))
        .order_by(runs.c.queued, runs.c.id)
        .limit(PAGE)
    )
    page = _page(engine, query)
    while page:
        yield page
        last = page[-1]
        later = or_(exact > last.at, and_(exact == last.at, runs.c.id > last.id))
        page = _page(engine, query.where(later))


def _page(engine: Engine, query: Any) -> Sequence[Row[Any]]:
    with reading(engine) as connection:
        return connection.execute(query).all()


def delete_runs(engine: Engine, ids: Sequence[str]) -> int:
    """Delete the runs, with all that belongs to them; how many went.

    One that is under way after all, or the last of its job, stays.
    """
    for table in metadata.sorted_tables:
        if any(key.column.table is runs for key in table.foreign_keys):
            _delete_rows(engine, table, ids)
    count = 0
    is_last = exists().where(jobs.c.last_run == runs.c.id)
    for start in range(0, len(ids), BITE):
        some = ids[start : start + BITE]
        query = delete(runs).where(
            runs.c.id.in_(some),
            runs.c.finished.is_not(None),
            runs.c.state.not_in(UNFINISHED),
            ~is_last,
        )
        with _bite(engine) as connection:
            count += connection.execute(query).rowcount
    return count


def delete_series(engine: Engine, ids: Sequence[str]) -> int:
    """Delete the runs' series; how many rows went."""
    return sum(_delete_rows(engine, table, ids) for table in SERIES)


def _delete_rows(engine: Engine, table: Table, ids: Sequence[str]) -> int:
    key = tuple_(*table.primary_key.columns)
    some = select(*table.primary_key.columns).where(table.c.run.in_(ids)).limit(BITE)
    count = 0
    while True:
        with _bite(engine) as connection:
            deleted = connection.execute(delete(table).where(key.in_(some))).rowcount
        count += deleted
        if deleted < BITE:
            return count


@contextmanager
def _bite(engine: Engine) -> Iterator[Connection]:
    """A short transaction, and a rest as long as it took, so that others get their turn."""
    with engine.begin() as connection:
        begun = time.monotonic()  # the write lock is ours
        yield connection
    time.sleep(min(max(REST_SECONDS, time.monotonic() - begun), LONGEST_REST_SECONDS))


def pages(engine: Engine) -> tuple[int, int, int]:
    """Of SQLite's file: pages in all, free ones, and the bytes of a page."""
    names = ("page_count", "freelist_count", "page_size")
    with reading(engine) as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]
    return found[0], found[1], found[2]


def pack(engine: Engine) -> bool:
    """Give SQLite's free pages back to the disk (VACUUM); False where somebody is writing.

    Writers wait until it is done, so it is for a quiet time. It takes room for a copy.
    """
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(PACKING_PATIENCE_SECONDS * 1000)}")
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        return False
    finally:
        connection.close()
    return True
