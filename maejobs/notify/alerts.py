"""When somebody is told: once when a job turns bad, once when it is well again. Pure."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from maejobs.jobs.model import Notify
from maejobs.notify.message import ALERT, RECOVERY, Message
from maejobs.rundb.run import FAILED, LOST, MISSED, SKIPPED, SUCCEEDED, TIMED_OUT, UNFINISHED

STALE = timedelta(days=2)  # what ended longer ago is no news: of a job that rests since, say
LONGEST_REASON = 500  # characters; a job file may have many mistakes
WORDS = {
    FAILED: "failed",
    TIMED_OUT: "timed out",
    LOST: "was lost",
    MISSED: "was missed",
    SKIPPED: "was skipped",
}


@dataclass(frozen=True)
class Outcome:
    """What came of a slot, or of a run by hand that went well: its last try."""

    run: str
    state: str
    reason: str | None
    host: str
    at: datetime
    slot: datetime | None


@dataclass(frozen=True)
class Change:
    """A job has turned bad with its last `count` slots, or is well again (`count` is 0)."""

    job: str
    outcome: Outcome
    count: int
    last_success: datetime | None


def outcomes(rows: Iterable[Any], is_settled: Callable[[Any], bool]) -> list[Outcome]:
    """What came of a job's slots, oldest first, by its runs, newest first.

    Of a slot the last try counts, and only once it `is_settled` that there is no other. One that a
    gate skipped has tried nothing: then the try before it counts. Runs by hand have somebody who
    looks on, so of these only a success counts.
    """
    rows = list(rows)
    tried = {row.slot for row in rows if row.state != SKIPPED}
    found: list[Outcome] = []
    seen: set[datetime] = set()
    over: set[datetime] = set()
    for row in rows:
        if row.slot in seen:
            continue
        if row.state == SKIPPED and row.slot in tried:
            if row.slot is not None:
                (over if row.slot in over or is_settled(row) else seen).add(row.slot)
            continue
        if row.slot is not None:
            seen.add(row.slot)
        elif row.state != SUCCEEDED:
            continue
        if row.state in UNFINISHED or not (row.slot in over or is_settled(row)):
            continue
        at = row.finished or row.queued
        found.append(Outcome(row.id, row.state, row.reason, row.host, at, row.slot))
    return found[::-1]


def change_of(
    job: str, past: Iterable[Outcome], rules: Notify, told_bad: bool, now: datetime
) -> Change | None:
    """What is to be told of the job now, if anything. `told_bad`: what was told last.

    Only successes and the states in `rules.on` count. What was cancelled says nothing about the
    job, nor does a slot that is `unknown`: maejobs itself was not there. They neither break a row
    of bad slots nor lengthen it.
    """
    counted = [one for one in past if one.state == SUCCEEDED or one.state in rules.on]
    if not counted:
        return None
    newest = counted[-1]
    last_success = max((one.at for one in counted if one.state == SUCCEEDED), default=None)
    count = 0
    for one in reversed(counted):
        if one.state == SUCCEEDED:
            break
        count += 1
    if told_bad:
        return Change(job, newest, 0, last_success) if count == 0 else None
    if count < rules.alert_after or now - newest.at > STALE:
        return None
    return Change(job, newest, count, last_success)


def message_of(change: Change, now: datetime, zone: tzinfo) -> Message:
    """The change as people are told it: no line of a log, no path, no command."""
    one = change.outcome
    if change.count == 0:
        title, kind = f"{change.job} is well again", RECOVERY
    else:
        times = f", the {_ordinal(change.count)} time in a row" if change.count > 1 else ""
        title, kind = f"{change.job} {WORDS[one.state]}{times}", ALERT
    facts = {
        "run": one.run,
        "host": one.host,
        "slot": _local(one.slot, zone),
        "ended": _local(one.at, zone),
        "reason": _in_short(one.reason) if one.reason and change.count else None,
        "last success": (_local(change.last_success, zone) or "not lately")
        if change.count
        else None,
    }
    lines = [f"{name}: {fact}" for name, fact in facts.items() if fact]
    if change.count:
        lines.append(f"`maejobs show {one.run}` and `maejobs logs {one.run}` tell more.")
    name, text = f"{kind}-{one.run}", "\n".join(lines)
    return Message(name, kind, now, f"maejobs: {title}", text, one.run, job=change.job)


def _in_short(reason: str) -> str:
    """On one line, without what a pager could choke on or obey; it may quote anything."""
    line = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(reason.split()))
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}…"


def still_bad(told: Collection[str], change: Change) -> set[str]:
    """The jobs told to be bad, once `change` is told."""
    return {*told, change.job} if change.count else set(told) - {change.job}


def _local(at: datetime | None, zone: tzinfo) -> str | None:
    return f"{at.astimezone(zone):%a %d %b %H:%M}" if at else None


def _ordinal(number: int) -> str:
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else suffix}"
