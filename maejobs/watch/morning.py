"""When the day's digest is due: at a time of day, or once the night's window has ended."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Any, NamedTuple

from maejobs.cron.dialect import dialect_of
from maejobs.cron.schedule import entries_of
from maejobs.cron.target import open_target
from maejobs.cron.zone import schedule_zone, zone_of_slots
from maejobs.files import write_atomically
from maejobs.home import Home
from maejobs.notify.settings import NEVER, read_settings
from maejobs.watch.outlook import planned_jobs
from maejobs.watch.plan import firings

SETTLES = timedelta(minutes=5)  # after a window's end: runs stop, and their ends are recorded
LATEST = timedelta(hours=6)  # after that a digest is no morning's any more: the host was off
ONE_NIGHT = timedelta(hours=3)  # windows that end within so long of each other
LOOK_BACK = timedelta(hours=36)


class Window(NamedTuple):
    """When a run may go on: from its slot to its deadline."""

    begin: datetime
    end: datetime


def is_due_by_window(
    now: datetime, last: datetime | None, windows: Iterable[Window], zone: tzinfo
) -> bool:
    """Whether the night has ended since the `last` digest. Pure.

    1. Not twice a day, as the clocks of `zone` tell days.
    2. The newest window that has ended counts, for some hours.
    3. Where another that had begun before it ends soon after it, the night is not over yet.
    """
    windows = list(windows)
    if last is not None and last.astimezone(zone).date() == now.astimezone(zone).date():
        return False
    ended = max((w.end for w in windows if w.end + SETTLES <= now), default=None)
    if ended is None or now - ended > LATEST or (last is not None and last >= ended):
        return False
    return not any(w.begin < ended < w.end <= ended + ONE_NIGHT for w in windows)


def is_due_at(now: datetime, last: datetime | None, at: time, zone: tzinfo) -> bool:
    """Whether it has become `at` since the `last` digest, some hours ago at the most. Pure.

    Of a time that the clocks of `zone` show twice, the first counts.
    """
    today = now.astimezone(zone).date()
    days = (today, today - timedelta(days=1))
    instants = [datetime.combine(day, at, zone).astimezone(UTC) for day in days]
    instant = next(instant for instant in instants if instant <= now)
    return now <= instant + LATEST and (last is None or last < instant)


def digest_is_due(home: Home, now: datetime) -> bool:
    """Whether the home's digest is to be sent now. Raises MaejobsError: that cannot be told."""
    settings = read_settings(home)
    if not settings.urls or settings.digest_at == NEVER:
        return False
    last = last_digest(home, now)
    if isinstance(settings.digest_at, time):
        return is_due_at(now, last, settings.digest_at, zone_of_slots(home))
    table = open_target(home.crontab).read() or b""
    entries, zone = entries_of(table, home), schedule_zone(home, table)
    jobs, _ = planned_jobs(entries, home.jobs_dir, {}, dialect_of(home))
    ending = [job for job in jobs if job.until is not None]
    coming = firings(ending, now - LOOK_BACK, now, zone)
    windows = [Window(firing.slot, firing.deadline) for firing in coming if firing.deadline]
    return is_due_by_window(now, last, windows, zone)


def last_digest(home: Home, now: datetime) -> datetime | None:
    """When the last one was sent by itself; None where none was, as far as can be read.

    A note from tomorrow or later was made while the host's clock was wrong, and does not count:
    until that day there would be no digest.
    """
    try:
        last = datetime.fromisoformat(_note(home)["sent"]).astimezone(UTC)
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None
    return last if last - now < timedelta(days=1) else None


def told_runs(home: Home) -> frozenset[str] | None:
    """What the last one knew of runs, as noted by `note_digest`; None where that is not known."""
    try:
        return frozenset(map(str, _note(home)["runs"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def note_digest(home: Home, now: datetime, runs: Iterable[str] = ()) -> None:
    """Remember that one was sent, and of which runs it knew. Raises OSError."""
    text = json.dumps({"sent": now.isoformat(), "runs": sorted(runs)})
    write_atomically(_note_file(home), text.encode())


def _note(home: Home) -> Any:
    return json.loads(_note_file(home).read_bytes())


def _note_file(home: Home) -> Path:
    return home.notify_dir / "digest.json"
