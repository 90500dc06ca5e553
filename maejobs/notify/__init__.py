"""Who is told what: alerts and pings, by way of an outbox, so that no pager can hold up a run."""
