"""Tells people that the run database is away, and when it is back: once each, and not at once.

By the outbox, which needs no database. A database that is away shows nobody a missed slot, and
cron's mail goes nowhere on most hosts.
"""

import json
import logging
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo

from maejobs.cron.zone import zone_of_slots
from maejobs.errors import MaejobsError
from maejobs.files import make_private_directory, write_atomically
from maejobs.home import Home
from maejobs.launch.process import host_name
from maejobs.notify import outbox
from maejobs.notify.message import ALERT, RECOVERY, Message

FOR_LONG = timedelta(minutes=30)  # a restart of the server, or a copy being put back, is no news
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Absence:
    """Since when every look at the database has failed, and whether somebody was told."""

    since: datetime
    told: bool = False


def next_absence(absence: Absence | None, is_away: bool, now: datetime) -> Absence | None:
    """What is to be remembered after a look at the database `now`; None: it is there. Pure."""
    if not is_away:
        return None
    if absence is None or absence.since > now:  # the clock was turned back
        return Absence(now)
    return replace(absence, told=absence.told or now - absence.since >= FOR_LONG)


def message_of(
    before: Absence | None, after: Absence | None, now: datetime, zone: tzinfo, host: str
) -> Message | None:
    """What people are told of the step from `before` to `after`; None: nothing. Pure."""
    if after is not None and after.told and not (before and before.told):
        title, kind, since = "the run database is away", ALERT, after.since
        advice = "Runs go on and their records wait, but missed and lost ones are not found."
        advice += "\n`maejobs doctor` tells more."
    elif after is None and before is not None and before.told:
        title, kind, since = "the run database is back", RECOVERY, before.since
        advice = "What waited is taken up."
    else:
        return None
    told = f"host: {host}\naway since: {since.astimezone(zone):%a %d %b %H:%M}\n{advice}"
    return Message(f"{kind}-database-{since:%Y%m%dT%H%M%SZ}", kind, now, f"maejobs: {title}", told)


def tell_of_database(home: Home, is_away: bool, now: datetime) -> None:
    """Note how a look at the home's database went; put into the outbox what people are to know.

    Only where the home tells anybody. Never raises.
    """
    if not home.configured_notify:
        return
    try:
        before = _read(home)
        after = next_absence(before, is_away, now)
        if after == before or not _has_receivers(home):
            return
        message = message_of(before, after, now, zone_of_slots(home), host_name())
        if message is not None:
            outbox.put(home, message)
        try:
            _write(home, after)
        except OSError:
            if message is not None:  # or they would be told every five minutes
                outbox.remove(home, message)
            raise
    except (MaejobsError, OSError) as error:
        _log.warning("nobody is told of the database: %s", error)


def _has_receivers(home: Home) -> bool:
    from maejobs.notify.settings import read_settings

    return bool(read_settings(home).urls)


def _read(home: Home) -> Absence | None:
    try:
        kept = json.loads((home.notify_dir / "database.json").read_bytes())
        return Absence(datetime.fromisoformat(kept["since"]).astimezone(UTC), bool(kept["told"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(home: Home, absence: Absence | None) -> None:
    file = make_private_directory(home.notify_dir) / "database.json"
    if absence is None:
        file.unlink(missing_ok=True)
    else:
        write_atomically(file, json.dumps(asdict(absence), default=datetime.isoformat).encode())
