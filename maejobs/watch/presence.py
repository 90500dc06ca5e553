"""Whether maejobs was there when a slot came. Pure: signs of life in, verdicts out."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

INTERVAL = timedelta(minutes=5)  # between two calls of the crontab's line
LONGEST_SILENCE = 3 * INTERVAL
MOST_SPANS = 1000
SETTLES = timedelta(days=2)  # after so long a clock that was set is taken for right
LONGEST_REST = timedelta(days=8)  # of a host that is there once a week
ONE_MINUTE = timedelta(minutes=1)  # what cron starts in a minute belongs to all of it


class Span(NamedTuple):
    """A time in which no two signs of life were further apart than `LONGEST_SILENCE`."""

    start: datetime
    end: datetime


def joined(spans: Iterable[Span]) -> list[Span]:
    """`spans` in order, those that overlap or nearly meet made one."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.start - found[-1].end <= LONGEST_SILENCE:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return found


def with_sign(spans: Iterable[Span], now: datetime, memory: timedelta) -> list[Span]:
    """`spans` and a sign of life at `now`, without what is older than `memory`.

    Nor with what a clock that has been turned back since left in the future.
    """
    past = [Span(start, min(end, now)) for start, end in spans if start <= now < end + memory]
    return joined([*past, Span(now, now)])[-MOST_SPANS:]


def is_trusted(spans: Iterable[Span], now: datetime) -> bool:
    """Whether the clock has come to `now` by itself: we were there between ten and two days ago.

    Else it may have been set ahead, by years maybe, and what is deleted by its age does not return.
    """
    newest = now - SETTLES
    return any(span.start <= newest and span.end >= newest - LONGEST_REST for span in spans)


def was_there(
    slot: datetime, spans: Sequence[Span], now: datetime, booted: datetime | None, watched: bool
) -> bool:
    """Whether a run of `slot` could have been started, as far as is known at `now`.

    1. With signs of life around it: yes.
    2. Where reconcile is called every few minutes (`watched`), and there are none: no.
    3. Else only a host that has `booted` since is known to have been away, or may have been.
    """
    if any(start - ONE_MINUTE <= slot <= end for start, end in spans):
        return True
    if watched:
        return False
    return booted is None or not slot < booted <= now
