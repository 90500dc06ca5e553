"""A message on its way: what it says, who has it already, and when it is tried again. Pure."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

ALERT, RECOVERY, DIGEST = "alert", "recovery", "digest"
START, SUCCESS, FAIL, LOG = "start", "success", "fail", "log"
PINGS = frozenset({START, SUCCESS, FAIL, LOG})
KINDS = PINGS | {ALERT, RECOVERY, DIGEST}

FIRST_DELAY, LONGEST_DELAY = timedelta(seconds=10), timedelta(hours=1)
# All pings of a check wait for the first: its job is not to be taken for dead for an hour after its
# server has come back. `reconcile`, which sends what no run does, is called as often.
LONGEST_DELAY_OF_PING = timedelta(minutes=5)
FACTOR = 3
TRIES_UNTIL_LONGEST = 6  # an alert has a hundred, for which the delay would be past all dates
# Of a run of yesterday a switch need not hear; a person should, after a long weekend too. A digest
# is followed by the next.
GIVE_UP_PINGS, GIVE_UP_DIGEST, GIVE_UP = timedelta(hours=6), timedelta(hours=12), timedelta(days=4)
_INSTANTS = ("created", "next_try")


@dataclass(frozen=True)
class Message:
    """One alert, digest or ping. `name` is its file's, so nothing is put into the outbox twice.

    `url` is that of a ping's check; what is told goes to all of the settings' URLs, of which those
    whose digest is in `delivered` have it.
    """

    name: str
    kind: str
    created: datetime
    title: str
    body: str
    run: str | None = None
    url: str | None = None
    delivered: tuple[str, ...] = ()
    tries: int = 0
    next_try: datetime | None = None
    trouble: str | None = None  # why the last try failed
    attachment: str | None = None  # the path of a file that goes along, and goes when it goes
    job: str | None = None  # of an alert

    @property
    def is_ping(self) -> bool:
        return self.kind in PINGS

    @property
    def expires(self) -> datetime:
        """When it is dropped, if nobody has taken it by then."""
        if self.is_ping:
            return self.created + GIVE_UP_PINGS
        return self.created + (GIVE_UP_DIGEST if self.kind == DIGEST else GIVE_UP)

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=datetime.isoformat, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Message":
        """The message that `to_json` wrote. Raises ValueError where the text is not one."""
        try:
            data = json.loads(text)
            for key in _INSTANTS:
                if data[key] is not None:
                    data[key] = datetime.fromisoformat(data[key]).astimezone(UTC)
            message = cls(**data | {"delivered": tuple(data["delivered"])})
        except (TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"not a message: {error}") from error
        texts = (message.name, message.title, message.body)
        if message.kind not in KINDS or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"not a message: kind {message.kind!a}")
        if not isinstance(message.created, datetime) or (message.is_ping and not message.url):
            raise ValueError("not a message: it lacks when it was made, or where it goes")
        return message


def failed(message: Message, why: str, now: datetime) -> Message:
    """`message` after a try that failed: each further one waits three times as long."""
    delay = FIRST_DELAY * FACTOR ** min(message.tries, TRIES_UNTIL_LONGEST)
    delay = min(delay, LONGEST_DELAY_OF_PING if message.is_ping else LONGEST_DELAY)
    return replace(message, tries=message.tries + 1, next_try=now + delay, trouble=why)


class Sorted(NamedTuple):
    """What waits, by what is to be done with it. `due_at`: when more is, if anything waits."""

    due: list[Message]
    dropped: list[tuple[Message, str]]
    due_at: datetime | None


def sort_out(messages: Iterable[Message], now: datetime, quiet_until: datetime | None) -> Sorted:
    """What is due `now` of `messages`, what is dropped and why.

    1. What is too old is dropped; so is a `start` that failed, once its run's end waits too.
    2. Pings to one place keep their order: those behind one that is not due wait as well.
    3. What is for people waits until it is no longer quiet.
    """
    due: list[Message] = []
    dropped: list[tuple[Message, str]] = []
    later: list[datetime] = []
    held: set[str | None] = set()
    oldest_first = sorted(messages, key=lambda message: (message.created, message.name))
    ended = {m.run for m in oldest_first if m.is_ping and m.kind != START}
    for message in oldest_first:
        if now >= message.expires:
            dropped.append((message, message.trouble or "it is too old"))
            continue
        if message.kind == START and message.tries and message.run in ended:
            dropped.append((message, "its run has ended"))
            continue
        waits_until = [message.next_try] if message.next_try else []
        if waits_until and waits_until[0] - now > LONGEST_DELAY:
            waits_until = []  # the clock was ahead as it was tried
        if not message.is_ping and quiet_until:
            waits_until.append(quiet_until)
        is_due = all(at <= now for at in waits_until)
        if is_due and not (message.is_ping and message.url in held):
            due.append(message)
        elif not is_due:
            later.append(max(waits_until))
        if message.is_ping:
            held.add(message.url)
    return Sorted(due, dropped, min(later, default=None))


def ahead_of(message: Message, waiting: Iterable[Message]) -> list[Message]:
    """What else `waiting` tells of the alert's job, and came up before it.

    The last word on a job is to be the last that a person hears.
    """
    if message.job is None or message.is_ping:
        return []
    before = (message.created, message.name)
    return [
        other
        for other in waiting
        if other.job == message.job and (other.created, other.name) < before
    ]
