"""The one place that reads the wall clock, so that a rehearsal can live on another day.

A home whose `maejobs.toml` sets `clock_shift` (seconds) is rehearsing: slots, records and slot
arithmetic use the shifted clock. What is handed to a child (`MAEJOBS_DEADLINE`) is real time.
"""

import os
import time
from datetime import UTC, datetime, timedelta

SHIFT_VARIABLE = "MAEJOBS_CLOCK_SHIFT"


def shift() -> timedelta:
    """How far this process's clock is ahead of the real one; zero outside a rehearsal."""
    return timedelta(seconds=float(os.environ.get(SHIFT_VARIABLE, "0")))


def now() -> datetime:
    """The present instant, timezone-aware UTC."""
    return datetime.fromtimestamp(time.time(), UTC) + shift()


def steady() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the host sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
