"""The zone in which cron reads our block: the daemon's, or what cronie is told above it."""

from datetime import tzinfo

from maejobs.cron.block import begins_block
from maejobs.cron.dialect import Dialect, dialect_of
from maejobs.cron.fires import scheduling_zone, zone_named
from maejobs.cron.lines import Kind, parse_lines
from maejobs.cron.target import open_target
from maejobs.errors import MaejobsError
from maejobs.home import Home

VARIABLE = "CRON_TZ"  # cronie's alone: to other crons it is a variable like any


def schedule_zone(home: Home, table: bytes | None = None) -> tzinfo:
    """The zone of the home's slots, whatever `TZ` says here.

    `table` is the home's crontab, where it has been read already. Raises MaejobsError where it
    cannot be, which only a host with cronie has to.
    """
    if dialect_of(home) is not Dialect.CRONIE:
        return scheduling_zone()
    if table is None:
        table = open_target(home.crontab).read() or b""
    told = None
    for line in parse_lines(table, dialect=Dialect.CRONIE):
        if begins_block(line.raw):
            break
        if line.kind is Kind.ENVIRONMENT and line.name == VARIABLE:
            told = line.value
    return scheduling_zone() if told is None else zone_named(told)


def zone_of_slots(home: Home, table: bytes | None = None) -> tzinfo:
    """As `schedule_zone`, for what a crontab that cannot be read must not cost: then the daemon's.

    Never raises.
    """
    try:
        return schedule_zone(home, table)
    except MaejobsError:
        return scheduling_zone()
