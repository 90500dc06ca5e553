"""A cron of our own, for containers and hosts that have none."""
