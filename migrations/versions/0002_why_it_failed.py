"""Why a run failed, and whether it took as long as others of its job."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

COLUMNS = ("failure_class", "pace")
V_RUNS = """
    SELECT id AS run, job AS job_name, slot, attempt, trigger, state, reason, outcome,
           retry_of, host, queued, started, finished, deadline,
           finished - started AS duration, exit_code, signal, peak_memory, cpu_seconds,
           gpu_seconds, step, total_steps, epoch, checkpoint_in, checkpoint_out,
           revision, config_hash, directory, broken_events
"""

# Columns are added and dropped in place. Alembic's batches would make the table anew on SQLite,
# and dropping the old one would take metrics, checkpoints and events with it (ON DELETE CASCADE).


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("runs", sa.Column(name, sa.Text))
    _show_runs(f"{V_RUNS}, {', '.join(COLUMNS)} FROM runs")


def downgrade() -> None:
    op.execute("DROP VIEW v_runs")
    for name in COLUMNS:
        op.drop_column("runs", name)
    op.execute(f"CREATE VIEW v_runs AS {V_RUNS} FROM runs")


def _show_runs(select: str) -> None:
    if op.get_bind().dialect.name == "postgresql":  # who may read the view may go on doing so
        op.execute(f"CREATE OR REPLACE VIEW v_runs AS {select}")
    else:
        op.execute("DROP VIEW v_runs")
        op.execute(f"CREATE VIEW v_runs AS {select}")
