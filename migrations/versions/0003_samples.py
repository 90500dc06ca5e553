"""What a run takes of its host: samples while it runs, and totals."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TOTALS = {
    "energy": sa.Double,
    "gpu_utilisation": sa.Double,
    "peak_gpu_memory": sa.BigInteger,
    "peak_tree_memory": sa.BigInteger,
    "bytes_read": sa.BigInteger,
    "bytes_written": sa.BigInteger,
}
COLUMNS = TOTALS | {"samples_offset": sa.BigInteger, "samples_step": sa.Integer}
V_RUNS_BEFORE = """
    SELECT id AS run, job AS job_name, slot, attempt, trigger, state, reason, outcome,
           retry_of, host, queued, started, finished, deadline,
           finished - started AS duration, exit_code, signal, peak_memory, cpu_seconds,
           gpu_seconds, step, total_steps, epoch, checkpoint_in, checkpoint_out,
           revision, config_hash, directory, broken_events, failure_class, pace
"""
V_SAMPLES = """
    SELECT samples.run, runs.job AS job_name, runs.slot, samples.time, samples.seconds,
           samples.cpu, samples.cpu_peak, samples.memory, samples.memory_peak,
           samples.bytes_read, samples.bytes_written, samples.disk_free,
           samples.gpu_utilisation, samples.gpu_memory, samples.gpu_memory_peak,
           samples.gpu_power, samples.gpu_power_peak, samples.gpu_temperature
    FROM samples JOIN runs ON runs.id = samples.run
"""


def upgrade() -> None:
    for name, kind in COLUMNS.items():
        op.add_column("runs", sa.Column(name, kind))
    _show_runs(f"{V_RUNS_BEFORE}, {', '.join(TOTALS)} FROM runs")
    to_thin = sa.text("samples_step < 3600")
    op.create_index(
        "ix_runs_to_thin", "runs", ["finished"], sqlite_where=to_thin, postgresql_where=to_thin
    )
    op.create_table(
        "samples",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("cpu", sa.Double),
        sa.Column("cpu_peak", sa.Double),
        sa.Column("memory", sa.BigInteger),
        sa.Column("memory_peak", sa.BigInteger),
        sa.Column("bytes_read", sa.BigInteger),
        sa.Column("bytes_written", sa.BigInteger),
        sa.Column("disk_free", sa.BigInteger),
        sa.Column("gpu_utilisation", sa.Double),
        sa.Column("gpu_memory", sa.BigInteger),
        sa.Column("gpu_memory_peak", sa.BigInteger),
        sa.Column("gpu_power", sa.Double),
        sa.Column("gpu_power_peak", sa.Double),
        sa.Column("gpu_temperature", sa.Double),
        sa.PrimaryKeyConstraint("run", "offset", name="pk_samples"),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name="fk_samples_run", ondelete="CASCADE"),
    )
    op.execute(f"CREATE VIEW v_samples AS {V_SAMPLES}")


def downgrade() -> None:
    op.execute("DROP VIEW v_samples")
    op.drop_table("samples")
    op.drop_index("ix_runs_to_thin", "runs")
    op.execute("DROP VIEW v_runs")
    for name in COLUMNS:
        op.drop_column("runs", name)
    op.execute(f"CREATE VIEW v_runs AS {V_RUNS_BEFORE} FROM runs")


def _show_runs(select: str) -> None:
    if op.get_bind().dialect.name == "postgresql":  # who may read the view may go on doing so
        op.execute(f"CREATE OR REPLACE VIEW v_runs AS {select}")
    else:
        op.execute("DROP VIEW v_runs")
        op.execute(f"CREATE VIEW v_runs AS {select}")
