"""Which scheduled minute a call of `maejobs exec` is for."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo

from maejobs.cron.dialect import dialect_of
from maejobs.cron.fires import previous_fire
from maejobs.cron.grammar import Expression, parse_expression
from maejobs.cron.schedule import entries_of
from maejobs.cron.target import open_target
from maejobs.errors import MaejobsError
from maejobs.home import Home

# Daemons run what a clock jump of up to three hours skipped, late (cron(8), "clock jumps").
LATEST_START = timedelta(hours=3)
_log = logging.getLogger(__name__)


def slot_of(now: datetime, expressions: Iterable[Expression], zone: tzinfo) -> datetime:
    """The newest fire time at or before `now`, if cron may still start it; else this minute.

    A run that starts some seconds or minutes late, since the host was busy or its clock jumped,
    still belongs to the minute it was scheduled for.
    """
    minute = now.replace(second=0, microsecond=0)
    fires = [previous_fire(expression, now, zone) for expression in expressions]
    recent = [fire for fire in fires if fire is not None and now - fire <= LATEST_START]
    return max(recent, default=minute)


def scheduled_expressions(home: Home, job: str) -> list[Expression]:
    """The expressions under which the crontab has the job; [] where it cannot be read.

    Reading the table only makes the slot more exact, so trouble with it must not cost the run.
    """
    try:
        entries = entries_of(open_target(home.crontab).read(), home)
        dialect = dialect_of(home)
        return [parse_expression(e.expression, dialect) for e in entries if e.job == job]
    except MaejobsError as error:
        _log.warning("the crontab could not be read for the slot of %s: %s", job, error)
        return []
