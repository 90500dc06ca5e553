"""Sends what is due: the one place that waits for pagers, in a process that nobody waits for."""

import hashlib
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from maejobs import clock
from maejobs.cron.zone import zone_of_slots
from maejobs.errors import MaejobsError, UserError
from maejobs.home import Home
from maejobs.notify import outbox
from maejobs.notify.judge import judge, untell
from maejobs.notify.message import ALERT, RECOVERY, Message, ahead_of, failed, sort_out
from maejobs.notify.pings import address_of
from maejobs.notify.post import Parcel, post
from maejobs.notify.quiet import quiet_until
from maejobs.notify.settings import Settings, read_settings, shown

STAYS_SECONDS = 120.0  # for what is tried again soon; later tries are of `reconcile`'s making
STEP_SECONDS = 1.0
STUCK = timedelta(seconds=30)  # until what failed is tried again where that cannot be noted
SEVERITIES = {ALERT: "failure", RECOVERY: "success"}


@dataclass(frozen=True)
class Sent:
    """One try: what, to whom (no secret in it), and why it failed, if it did."""

    message: str
    to: str
    why: str | None


def send(home: Home, stays: float = STAYS_SECONDS) -> Iterator[Sent]:
    """Judge the jobs, then deliver what is due, and what becomes due while it `stays` (seconds).

    Where another process waits for its turn already, that one does it. Raises UserError for bad
    settings, once the pings, which need none, are sent; OSError where the outbox cannot be written.
    """
    try:
        settings = read_settings(home)
    except UserError:
        yield from _send(home, None, stays)
        raise
    yield from _send(home, settings, stays)


def _send(home: Home, settings: Settings | None, stays: float) -> Iterator[Sent]:
    give_up: float | None = None
    judged = settings is None or not settings.urls
    while True:
        with outbox.turn(home) as mine:
            if mine is None:
                return
            if not judged:
                _judge(home)
                judged = True
            due_at = yield from _deliver(home, settings)
        if give_up is None:
            give_up = time.monotonic() + stays
        if due_at is None or not _sleep(home, due_at, give_up, mine):
            return


def _sleep(home: Home, due_at: datetime, give_up: float, mine: int) -> bool:
    """Whether `due_at` has come, before it is time to `give_up`, and nobody has had a turn since.

    Whoever had it sees to what waits as well, and longer: each run starts a sender, and not all
    that a dead pager has to do with are to stay.
    """
    wake = time.monotonic() + max((due_at - clock.now()).total_seconds(), 0)
    if wake > give_up:
        return False
    while (left := wake - time.monotonic()) > 0:
        time.sleep(min(left, STEP_SECONDS))
        if outbox.last_turn(home) != mine:
            return False
    return True


def _judge(home: Home) -> None:
    try:
        judge(home, clock.now())
    except (MaejobsError, OSError) as error:  # what waits already goes out all the same
        outbox.note(home, clock.now(), f"the jobs are not judged: {error}")


def _deliver(home: Home, settings: Settings | None) -> Generator[Sent, None, datetime | None]:
    """Try all that is due until nothing is; when something will be, None if nothing waits.

    Without settings these are pings only.
    """
    hours = settings.quiet_hours if settings else None
    stuck: set[str] = set()  # what would be due again at once, and again
    while True:
        now = clock.now()
        quiet = quiet_until(now, hours, zone_of_slots(home)) if hours else None
        waiting = outbox.waiting(home)
        found = sort_out(waiting, now, quiet)
        for message, why in found.dropped:
            _drop(home, message, now, why)
        if found.dropped:
            continue  # what was behind them need not wait any more
        due = [message for message in found.due if message.name not in stuck]
        due = [message for message in due if settings or message.is_ping]
        ahead = {message.name: ahead_of(message, waiting) for message in due}
        if settings:
            due = [one for one in due if _has_turn(settings, one, ahead[one.name])]
        if not due:
            return min(filter(None, (found.due_at, now + STUCK if stuck else None)), default=None)
        for message in due:
            tried = _try(home, settings or Settings(), message, ahead[message.name])
            if not (yield from tried):
                stuck.add(message.name)


def _drop(home: Home, message: Message, now: datetime, why: str) -> None:
    """Give it up. Of an alert that has reached nobody the job is judged anew."""
    outbox.note(home, now, f"dropped {message.name}: {why}")
    outbox.remove(home, message)
    if message.kind == ALERT and message.job and not message.delivered:
        with suppress(OSError):  # on a full disk nothing else is to wait for it
            untell(home, message.job)


def _has_turn(settings: Settings, message: Message, ahead: Sequence[Message]) -> bool:
    """Whether there is anybody to try now, or nobody is left that it would wait for."""
    return bool(receivers(settings, message, ahead)) or not receivers(settings, message)


def _try(
    home: Home, settings: Settings, message: Message, ahead: Sequence[Message]
) -> Generator[Sent, None, bool]:
    """Deliver it to all who do not have it yet; what failed is kept for later.

    Not to those whom something `ahead` of it has yet to reach. Whether what came of it could be
    noted.
    """
    trouble = None
    for url in receivers(settings, message, ahead):
        why = post(_parcel(message, url))
        outbox.note(home, clock.now(), f"{why or 'sent'}: {message.name} to {shown(url)}")
        yield Sent(message.name, shown(url), why)
        if why:
            trouble = why
            continue
        message = replace(message, delivered=(*message.delivered, digest(url)))
        if receivers(settings, message):
            _keep(home, message)
    if trouble is None:
        if message.is_ping or not receivers(settings, message):
            outbox.remove(home, message)
        return True
    return _keep(home, failed(message, trouble, clock.now()))


def _keep(home: Home, message: Message) -> bool:
    """Note who has it. One of which that cannot be noted goes: nobody is to have it each minute."""
    try:
        outbox.replace(home, message)
    except OSError as error:
        outbox.note(home, clock.now(), f"{message.name} cannot be kept: {error}")
        if message.delivered:
            outbox.remove(home, message)
        return False
    return True


def receivers(settings: Settings, message: Message, ahead: Sequence[Message] = ()) -> list[str]:
    """The URLs that it is still to go to, of those that have all that is `ahead` of it."""
    if message.is_ping:
        return [address_of(message)]
    left = [url for url in settings.urls if digest(url) not in message.delivered]
    return [url for url in left if all(digest(url) in other.delivered for other in ahead)]


def _parcel(message: Message, url: str) -> Parcel:
    severity = SEVERITIES.get(message.kind, "info")
    return Parcel(url, message.title, message.body, message.is_ping, severity, message.attachment)


def digest(url: str) -> str:
    """What names the URL in a message's file, in place of itself."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]
