"""Puts a digest into the outbox: the text, and the HTML with its pictures to go along."""

from maejobs.digest.facts import Digest
from maejobs.digest.html import as_html
from maejobs.digest.text import as_text, title
from maejobs.home import Home
from maejobs.notify import outbox
from maejobs.notify.message import DIGEST, Message


def message_of(digest: Digest) -> Message:
    """The digest as a message; a day has one name, and so at most one that waits."""
    name = f"{DIGEST}-{digest.now.astimezone(digest.zone):%Y%m%d}"
    return Message(name, DIGEST, digest.now, title(digest), as_text(digest))


def put(home: Home, digest: Digest) -> None:
    """Have it sent. Raises OSError: the disk is full, say."""
    outbox.put_with(home, message_of(digest), ".html", as_html(digest).encode())
