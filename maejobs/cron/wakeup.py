"""What cron runs when it wakes: the rule for clocks that jump and for a daemon that slept too long.

Debian's and cronie's daemons count local wall-clock minutes and keep a *virtual* time, the minute
up to which fixed-time jobs have been run. A change of the UTC offset reaches them as a jump of that
clock like any other, so daylight saving needs no rule of its own. Boundaries as the real daemons
have them (tests/e2e/test_virtual_time.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from maejobs.cron.grammar import Expression

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (a clock on the wall)
MINUTE = timedelta(minutes=1)
NAP_SECONDS = 10  # between the missed minutes that are made up for
LATE = 5  # minutes the daemon takes itself to have merely woken late by
LONGEST_JUMP = 180  # beyond this the clock was set by hand
# Set back by exactly that much, Debian's daemon starts afresh and cronie's does not.
LONGEST_BACK = {"debian": LONGEST_JUMP - 1, "cronie": LONGEST_JUMP}


@dataclass(frozen=True)
class Due:
    """One local minute and whose turn it is in it; wildcard: minute or hour starts with `*`."""

    minute: int
    wildcard: bool = False
    fixed: bool = False


def local_minute(now: datetime) -> int:
    """The minutes since the epoch that a clock on the wall shows; `now` is local."""
    return (now.replace(tzinfo=None) - EPOCH) // MINUTE


def is_due(expression: Expression, due: Due) -> bool:
    """Whether it is the expression's turn."""
    kind = due.wildcard if expression.wildcard else due.fixed
    return kind and expression.matches(EPOCH + due.minute * MINUTE)


def catch_up(
    virtual: int,
    clock: int,
    start: Callable[[Due], bool],
    nap: Callable[[], int],
    dialect: str = "debian",
) -> int:
    """Start what is due at `clock` as the daemons do; gives the virtual time that follows.

    `start` tells whether anything was started. The daemons sleep ten seconds before they go on
    with the next minute they missed: `nap` does, and gives the minute the clock then shows. When
    that is not `clock` any more, they wake anew, from the last minute made up for.
    """
    dues, reached = wake(virtual, clock, dialect)
    shown, started = clock, False
    for due in dues:
        if started:
            shown = nap()
        started = start(due)
        if shown != clock and due.fixed and not due.wildcard:
            return due.minute
    return reached


def wake(virtual: int, clock: int, dialect: str = "debian") -> tuple[list[Due], int]:
    """What is due, in the order it runs, and the virtual time that follows.

    `virtual` and `clock` are local wall-clock minutes since the epoch. To be called once for each
    minute that the clock is seen in; a daemon starts with both at the minute it was started in,
    which it does not run. By how far the clock is ahead of the virtual time:

    1. up to 5 min: every job of each missed minute;
    2. up to 180 min: wildcard jobs of the clock's minute, then fixed ones of each missed minute;
    3. not at all, or up to 180 min behind (`LONGEST_BACK`): wildcard jobs of the clock's minute;
       the virtual time stands until the clock has caught up: fixed jobs are not repeated;
    4. anything else: every job of the clock's minute, and the virtual time starts afresh there.
    """
    ahead = clock - virtual
    missed = range(virtual + 1, clock + 1)
    if 0 < ahead <= LATE:
        return [Due(minute, wildcard=True, fixed=True) for minute in missed], clock
    if LATE < ahead <= LONGEST_JUMP:
        caught_up = [Due(minute, fixed=True) for minute in missed]
        return [Due(clock, wildcard=True), *caught_up], clock
    if -LONGEST_BACK[dialect] <= ahead <= 0:
        return [Due(clock, wildcard=True)], virtual
    return [Due(clock, wildcard=True, fixed=True)], clock
