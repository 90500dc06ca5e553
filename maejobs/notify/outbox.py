"""The outbox: one fsynced file a message, so that none is lost with a process or with the power."""

import dataclasses
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from maejobs.files import (
    FILE_MODE,
    create_atomically,
    make_private_directory,
    remove_leftovers,
    write_atomically,
)
from maejobs.home import Home
from maejobs.notify.message import Message

LOG_LIMIT = 256_000  # bytes; as much again is kept of what was before
LOCK, NEXT = "lock", "next"  # of who sends, and of who waits for that
UNREADABLE = ".unreadable"  # the suffix of what is no message
_log = logging.getLogger(__name__)


def put(home: Home, message: Message) -> None:
    """Keep `message` until it is delivered; one of its name that waits already stands.

    Raises OSError: the disk is full, say.
    """
    place = make_private_directory(directory(home))
    with suppress(FileExistsError):
        create_atomically(place / f"{message.name}.json", message.to_json().encode())


def replace(home: Home, message: Message) -> None:
    """Keep what a try has changed. Raises OSError."""
    write_atomically(directory(home) / f"{message.name}.json", message.to_json().encode())


def remove(home: Home, message: Message) -> None:
    """Forget it, and what was to go along: it is delivered, or given up."""
    (directory(home) / f"{message.name}.json").unlink(missing_ok=True)
    if message.attachment is not None:
        Path(message.attachment).unlink(missing_ok=True)


def put_with(home: Home, message: Message, suffix: str, content: bytes) -> Message:
    """Keep `message`, and `content` as a file that goes along; the message that was kept.

    It replaces one of its name that waits: they would share the file. Raises OSError; nothing is
    kept then.
    """
    attachment = make_private_directory(directory(home)) / f"{message.name}{suffix}"
    write_atomically(attachment, content)
    message = dataclasses.replace(message, attachment=str(attachment))
    try:
        replace(home, message)
    except OSError:
        attachment.unlink(missing_ok=True)
        raise
    return message


def waiting(home: Home) -> list[Message]:
    """All that waits, oldest first. A file that cannot be read is set aside, not deleted."""
    with suppress(OSError):
        remove_leftovers(directory(home))
    found = []
    for path in directory(home).glob("*.json"):
        try:
            message = Message.from_json(path.read_text(encoding="utf-8"))
            if message.name != path.stem:  # who has sent it would remove another, for ever
                raise ValueError(f"it is called {message.name!a}")
            found.append(message)
        except FileNotFoundError:
            continue
        except OSError as error:
            _log.warning("message %s cannot be read: %s", path, error)
        except ValueError as error:
            _log.warning("message %s is set aside: %s", path, error)
            with suppress(OSError):
                path.rename(path.with_suffix(UNREADABLE))
    return sorted(found, key=lambda message: (message.created, message.name))


def set_aside(home: Home) -> list[str]:
    """The names of the files that are no messages: a person has to look."""
    return sorted(path.name for path in directory(home).glob(f"*{UNREADABLE}"))


def is_empty(home: Home) -> bool:
    """Whether nothing waits, without reading it."""
    return next(directory(home).glob("*.json"), None) is None


@contextmanager
def held(home: Home) -> Iterator[bool]:
    """Within, nobody else sends, if it is told so; the kernel lets go when this process dies."""
    descriptor = _open(home, LOCK)
    try:
        yield _locked(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def turn(home: Home) -> Iterator[int | None]:
    """Within, this process alone sends; the mark of its turn, that of `last_turn` until the next.

    One waits for whoever sends. For all others it is None: the one that waits will see what they
    see. What is started within holds on as well, so that a try outlives nobody unseen.
    """
    descriptors = [_open(home, NEXT)]
    try:
        if not _locked(descriptors[0]):
            yield None
            return
        descriptors.append(_open(home, LOCK))
        fcntl.flock(descriptors[1], fcntl.LOCK_EX)
        os.close(descriptors.pop(0))  # from here on another may wait
        mark = time.time_ns()
        os.utime(descriptors[0], ns=(mark, mark))
        os.set_inheritable(descriptors[0], True)
        yield last_turn(home)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def last_turn(home: Home) -> int:
    """The mark of the newest turn. Raises OSError."""
    return (home.notify_dir / LOCK).stat().st_mtime_ns


def is_awaited(home: Home) -> bool:
    """Whether a process waits for its turn: it has not looked yet at what waits now."""
    descriptor = _open(home, NEXT)
    try:
        return not _locked(descriptor)
    finally:
        os.close(descriptor)


def _open(home: Home, name: str) -> int:
    place = make_private_directory(home.notify_dir) / name
    return os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)


def _locked(descriptor: int) -> bool:
    """Whether it could be locked at once."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def note(home: Home, now: datetime, text: str) -> None:
    """A line for the log of what was sent, failed or dropped. Costs nothing where it fails."""
    log = log_file(home)
    with suppress(OSError):
        if log.exists() and log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{now:%Y-%m-%dT%H:%M:%SZ} {' '.join(text.split())}\n")


def log_file(home: Home) -> Path:
    """Where `note` writes."""
    return home.notify_dir / "sent.log"


def directory(home: Home) -> Path:
    """Where the messages wait."""
    return home.notify_dir / "outbox"
