"""Puts a digest into the outbox: the text, and the HTML with its pictures to go along."""

from datetime import datetime, timedelta

from maejobs.digest.facts import Digest
from maejobs.digest.gather import NIGHT, Told, gather, known_runs
from maejobs.digest.html import as_html
from maejobs.digest.text import as_text, title
from maejobs.errors import MaejobsError
from maejobs.home import Home
from maejobs.notify import outbox
from maejobs.notify.message import DIGEST, Message
from maejobs.watch.morning import digest_is_due, last_digest, note_digest, told_runs

LONGEST = timedelta(days=3)  # that a digest looks back by itself: over a weekend


def message_of(digest: Digest) -> Message:
    """The digest as a message; a day has one name, and so at most one that waits."""
    name = f"{DIGEST}-{digest.now.astimezone(digest.zone):%Y%m%d}"
    return Message(name, DIGEST, digest.now, title(digest), as_text(digest))


def put(home: Home, digest: Digest) -> Message:
    """Have it sent; the message that waits. Raises OSError: the disk is full, say."""
    return outbox.put_with(home, message_of(digest), ".html", as_html(digest).encode())


def put_if_due(home: Home, now: datetime) -> None:
    """Have the day's digest sent, if it is time for it and no other process sees to that.

    It tells what has become known since the last one. Without a note of it on a full disk it is not
    sent: it would be sent every five minutes. Raises MaejobsError, OSError.
    """
    with outbox.held(home) as alone:
        if not alone or not digest_is_due(home, now):
            return
        last = last_digest(home, now)
        since, told = now - NIGHT, None
        if last is not None and now - last < LONGEST:
            since, runs = last, told_runs(home)
            told = None if runs is None else Told(now - LONGEST, runs)
        try:  # before it is gathered: what comes up meanwhile is told twice rather than never
            known = known_runs(home, now - LONGEST)
        except MaejobsError:  # of which the digest tells
            known = told.runs if told else frozenset()
        message = put(home, gather(home, since, told))
        try:
            note_digest(home, now, known)
        except OSError:
            outbox.remove(home, message)
            raise
