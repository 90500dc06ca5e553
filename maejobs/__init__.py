"""maejobs: schedules, supervises, records and shows training jobs on a host that has cron."""

__version__ = "0.1.0"
