"""What cron runs when it wakes: the rule for clocks that jump and for a daemon that slept too long.

Debian's and cronie's daemons count local wall-clock minutes and keep a *virtual* time, the minute
up to which fixed-time jobs have been run. A change of the UTC offset reaches them as a jump of that
clock like any other, so daylight saving needs no rule of its own. Boundaries as the real daemons
have them (tests/e2e/test_virtual_time.py).
"""

from dataclasses import dataclass

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


def wake(virtual: int, clock: int, dialect: str = "debian") -> tuple[list[Due], int]:
    """What is due, in the order it runs, and the virtual time that follows.

    `virtual` and `clock` are local wall-clock minutes since the epoch. To be called once for each
    minute that the clock is seen in; a daemon starts with both at the minute it was started in,
    which it does not run. By how far the clock is ahead of the virtual time:

    1. up to 5 min: every job of each missed minute;
    2. up to 180 min: wildcard jobs of the clock's minute, then fixed ones of each missed minute
       (who takes longer over that than a minute wakes again, from the last minute made up for);
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
