"""A run that ended before it began, since the clock was set back, has no length in the views."""

from alembic import op

revision = "0004"
down_revision = "0003"

V_JOBS = """
    SELECT name AS job_name, summary, schedule, scheduled_since, paused_since,
           last_run, last_state, last_reason, last_outcome, last_slot, last_started,
           last_finished, {duration} AS last_duration, last_success
    FROM jobs
"""
V_RUNS = """
    SELECT id AS run, job AS job_name, slot, attempt, trigger, state, reason, outcome,
           retry_of, host, queued, started, finished, deadline,
           {duration} AS duration, exit_code, signal, peak_memory, cpu_seconds,
           gpu_seconds, step, total_steps, epoch, checkpoint_in, checkpoint_out,
           revision, config_hash, directory, broken_events, failure_class, pace,
           energy, gpu_utilisation, peak_gpu_memory, peak_tree_memory, bytes_read, bytes_written
    FROM runs
"""
AS_IT_WAS = "{end} - {start}"
AS_IT_IS = "CASE WHEN {end} >= {start} THEN {end} - {start} END"


def upgrade() -> None:
    _show(AS_IT_IS)


def downgrade() -> None:
    _show(AS_IT_WAS)


def _show(duration: str) -> None:
    of_run = duration.format(start="started", end="finished")
    of_job = duration.format(start="last_started", end="last_finished")
    _replace("v_runs", V_RUNS.format(duration=of_run))
    _replace("v_jobs", V_JOBS.format(duration=of_job))


def _replace(name: str, select: str) -> None:
    if op.get_bind().dialect.name == "postgresql":  # who may read the view may go on doing so
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {select}")
    else:
        op.execute(f"DROP VIEW {name}")
        op.execute(f"CREATE VIEW {name} AS {select}")
