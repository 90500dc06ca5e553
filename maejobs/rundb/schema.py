"""The tables of the run database. Instants are stored as epoch seconds, so views need no functions.

`REVISION` is the Alembic revision this code reads and writes; a test holds it against
`migrations/`, so that running a job need not import Alembic.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import BigInteger, TypeDecorator

REVISION = "0004"
COARSEST_STEP = 3600  # seconds that a sample stands for once no thinning is left to do

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


class Instant(TypeDecorator[datetime]):
    """A timezone-aware datetime in Python, seconds since 1970 UTC (double) in the database."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> float | None:
        return None if value is None else value.timestamp()

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromtimestamp(value, UTC)


jobs = Table(
    "jobs",
    metadata,
    Column("name", Text, primary_key=True),
    Column("summary", Text, nullable=False, default=""),
    Column("schedule", Text),  # the crontab's expressions, one a line; null: not scheduled
    Column("scheduled_since", Instant),
    Column("paused_since", Instant),
    Column("checked_until", Instant),  # slots up to here have been looked at for missed ones
    Column("last_run", Text),
    Column("last_state", Text),
    Column("last_reason", Text),
    Column("last_outcome", Text),
    Column("last_slot", Instant),
    Column("last_started", Instant),
    Column("last_finished", Instant),
    Column("last_success", Instant),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("job", Text, ForeignKey("jobs.name"), nullable=False),
    Column("slot", Instant),  # null: started by hand
    Column("attempt", Integer, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("outcome", Text),
    Column("retry_of", Text),
    Column("host", Text, nullable=False),
    Column("boot_id", Text),
    Column("supervisor_pid", Integer),
    Column("supervisor_started", Double),  # seconds since the boot: with it and the pid, who it is
    Column("pid", Integer),
    Column("pid_started", Double),
    Column("queued", Instant, nullable=False),
    Column("started", Instant),
    Column("finished", Instant),
    Column("deadline", Instant),
    Column("command", JSON),
    Column("config_hash", Text),
    Column("revision", Text),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("peak_memory", BigInteger),  # bytes
    Column("cpu_seconds", Double),
    Column("gpu_seconds", Double),
    Column("step", BigInteger),
    Column("total_steps", BigInteger),
    Column("epoch", Double),
    Column("checkpoint_in", Text),
    Column("checkpoint_out", Text),
    Column("directory", Text, nullable=False),
    Column("events_offset", BigInteger, nullable=False, default=0),  # bytes taken up
    Column("broken_events", Integer, nullable=False, default=0),
    Column("failure_class", Text),
    Column("pace", Text),
    Column("energy", Double),  # joules
    Column("gpu_utilisation", Double),  # 0 to 1
    Column("peak_gpu_memory", BigInteger),
    Column("peak_tree_memory", BigInteger),
    Column("bytes_read", BigInteger),
    Column("bytes_written", BigInteger),
    Column("samples_offset", BigInteger),  # bytes taken up; null: none
    Column("samples_step", Integer),  # seconds, at least, that each now stands for; 0: as taken
    UniqueConstraint("job", "slot", "attempt"),
)
Index("ix_runs_job_queued", runs.c.job, runs.c.queued.desc())
Index("ix_runs_queued", runs.c.queued.desc())
# These two are partial on PostgreSQL as well, as the migrations say; to say it here would load its
# dialect, 2.5 MB, into each supervisor.
Index("ix_runs_unfinished", runs.c.job, sqlite_where=runs.c.finished.is_(None))

# Few, so that old samples are found without a look at all of history.
Index("ix_runs_to_thin", runs.c.finished, sqlite_where=runs.c.samples_step < COARSEST_STEP)

metrics = Table(
    "metrics",
    metadata,
    Column("run", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("offset", BigInteger, primary_key=True),  # of the event's line: makes ingest idempotent
    Column("name", Text, nullable=False),
    Column("step", BigInteger),
    Column("value", Double),  # null: not a number, or infinite
    Column("time", Instant, nullable=False),
)
Index("ix_metrics_name_run", metrics.c.name, metrics.c.run)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("run", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("path", Text, nullable=False),
    Column("step", BigInteger),
    Column("bytes", BigInteger),
    Column("sha256", Text),
    Column("time", Instant, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("run", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("body", JSON, nullable=False),
    Column("time", Instant, nullable=False),
)

# What a run took of its host: each row stands for the `seconds` before `time`. Averages, unless the
# name says `peak`; `bytes_` are sums, `disk_free` is the least and `gpu_temperature` the most seen.
samples = Table(
    "samples",
    metadata,
    Column("run", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("time", Instant, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("cpu", Double),  # cores
    Column("cpu_peak", Double),
    Column("memory", BigInteger),  # bytes
    Column("memory_peak", BigInteger),
    Column("bytes_read", BigInteger),
    Column("bytes_written", BigInteger),
    Column("disk_free", BigInteger),
    Column("gpu_utilisation", Double),  # 0 to 1
    Column("gpu_memory", BigInteger),
    Column("gpu_memory_peak", BigInteger),
    Column("gpu_power", Double),  # watts
    Column("gpu_power_peak", Double),
    Column("gpu_temperature", Double),  # degrees Celsius
)

# What dashboards read and `db export` writes, and the column that tells when a row is from.
VIEWS: dict[str, str | None] = {
    "v_jobs": None,
    "v_runs": "queued",
    "v_metrics": "time",
    "v_checkpoints": "time",
    "v_events": "time",
    "v_samples": "time",
}
