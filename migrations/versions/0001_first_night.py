"""The first night: jobs, runs, events and the views that dashboards read."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

VIEWS = {
    "v_jobs": """
        SELECT name AS job_name, summary, schedule, scheduled_since, paused_since,
               last_run, last_state, last_reason, last_outcome, last_slot, last_started,
               last_finished, last_finished - last_started AS last_duration, last_success
        FROM jobs
    """,
    "v_runs": """
        SELECT id AS run, job AS job_name, slot, attempt, trigger, state, reason, outcome,
               retry_of, host, queued, started, finished, deadline,
               finished - started AS duration, exit_code, signal, peak_memory, cpu_seconds,
               gpu_seconds, step, total_steps, epoch, checkpoint_in, checkpoint_out,
               revision, config_hash, directory, broken_events
        FROM runs
    """,
    "v_metrics": """
        SELECT metrics.run, runs.job AS job_name, runs.slot, metrics.name, metrics.step,
               metrics.value, metrics.time
        FROM metrics JOIN runs ON runs.id = metrics.run
    """,
    "v_checkpoints": """
        SELECT checkpoints.run, runs.job AS job_name, runs.slot, checkpoints.path,
               checkpoints.step, checkpoints.bytes, checkpoints.sha256, checkpoints.time
        FROM checkpoints JOIN runs ON runs.id = checkpoints.run
    """,
    "v_events": """
        SELECT events.run, runs.job AS job_name, runs.slot, events.kind, events.body, events.time
        FROM events JOIN runs ON runs.id = events.run
    """,
}


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("schedule", sa.Text),
        sa.Column("scheduled_since", sa.Double),
        sa.Column("paused_since", sa.Double),
        sa.Column("checked_until", sa.Double),
        sa.Column("last_run", sa.Text),
        sa.Column("last_state", sa.Text),
        sa.Column("last_reason", sa.Text),
        sa.Column("last_outcome", sa.Text),
        sa.Column("last_slot", sa.Double),
        sa.Column("last_started", sa.Double),
        sa.Column("last_finished", sa.Double),
        sa.Column("last_success", sa.Double),
        sa.PrimaryKeyConstraint("name", name="pk_jobs"),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("slot", sa.Double),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.Column("retry_of", sa.Text),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("boot_id", sa.Text),
        sa.Column("supervisor_pid", sa.Integer),
        sa.Column("supervisor_started", sa.Double),
        sa.Column("pid", sa.Integer),
        sa.Column("pid_started", sa.Double),
        sa.Column("queued", sa.Double, nullable=False),
        sa.Column("started", sa.Double),
        sa.Column("finished", sa.Double),
        sa.Column("deadline", sa.Double),
        sa.Column("command", sa.JSON),
        sa.Column("config_hash", sa.Text),
        sa.Column("revision", sa.Text),
        sa.Column("exit_code", sa.Integer),
        sa.Column("signal", sa.Integer),
        sa.Column("peak_memory", sa.BigInteger),
        sa.Column("cpu_seconds", sa.Double),
        sa.Column("gpu_seconds", sa.Double),
        sa.Column("step", sa.BigInteger),
        sa.Column("total_steps", sa.BigInteger),
        sa.Column("epoch", sa.Double),
        sa.Column("checkpoint_in", sa.Text),
        sa.Column("checkpoint_out", sa.Text),
        sa.Column("directory", sa.Text, nullable=False),
        sa.Column("events_offset", sa.BigInteger, nullable=False),
        sa.Column("broken_events", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.ForeignKeyConstraint(["job"], ["jobs.name"], name="fk_runs_job"),
        sa.UniqueConstraint("job", "slot", "attempt", name="uq_runs_job_slot_attempt"),
    )
    op.create_index("ix_runs_job_queued", "runs", ["job", sa.text("queued DESC")])
    op.create_index("ix_runs_queued", "runs", [sa.text("queued DESC")])
    unfinished = sa.text("finished IS NULL")
    op.create_index(
        "ix_runs_unfinished", "runs", ["job"], sqlite_where=unfinished, postgresql_where=unfinished
    )
    op.create_table(
        "metrics",
        *_of_a_run("metrics"),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("step", sa.BigInteger),
        sa.Column("value", sa.Double),
        sa.Column("time", sa.Double, nullable=False),
    )
    op.create_index("ix_metrics_name_run", "metrics", ["name", "run"])
    op.create_table(
        "checkpoints",
        *_of_a_run("checkpoints"),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("step", sa.BigInteger),
        sa.Column("bytes", sa.BigInteger),
        sa.Column("sha256", sa.Text),
        sa.Column("time", sa.Double, nullable=False),
    )
    op.create_table(
        "events",
        *_of_a_run("events"),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("time", sa.Double, nullable=False),
    )
    for name, select in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {select}")


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
    for table in ("events", "checkpoints", "metrics", "runs", "jobs"):
        op.drop_table(table)


def _of_a_run(table: str) -> tuple[sa.schema.SchemaItem, ...]:
    return (
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("run", "offset", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name=f"fk_{table}_run", ondelete="CASCADE"),
    )
