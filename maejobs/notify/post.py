"""One delivery, in a process of its own: what hangs or crashes in it can be killed with it.

Reads a `Parcel` as JSON from standard input, prints `{"ok": …, "why": …}`. Apprise is imported
here and nowhere else; it takes as long as the rest of maejobs together.
"""

import json
import logging
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from urllib.parse import unquote

from maejobs.jobs.secrets import hide

LONGEST = 120.0  # seconds for one delivery, start of the process and all, on a busy host too
HTTP_TIMEOUT = 20.0  # seconds without a byte; below LONGEST, so that it can be told
LONGEST_REASON = 200  # characters


@dataclass(frozen=True)
class Parcel:
    """What goes to `url`: a ping, which is the body and nothing else, or all of it by apprise."""

    url: str
    title: str
    body: str
    is_ping: bool = False
    severity: str = "info"  # one of apprise's types
    attachment: str | None = None  # a file's path, for services that take any


def post(parcel: Parcel, longest: float = LONGEST) -> str | None:
    """Why it could not be delivered, without a word of the URL; None: it was. Never raises."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "maejobs.notify.post"],
            input=json.dumps(asdict(parcel)).encode(),
            capture_output=True,
            timeout=longest,
            check=False,
            close_fds=False,  # the outbox's lock, so that nobody sends this once more meanwhile
        )
        answer = json.loads(done.stdout)
        return None if answer["ok"] else str(answer["why"])
    except subprocess.TimeoutExpired:
        return f"no answer within {longest:.0f} s"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"could not be tried: {type(error).__name__}"


def main() -> None:
    """What the process does."""
    parcel = Parcel(**json.load(sys.stdin))
    try:
        why = _ping(parcel) if parcel.is_ping else _tell(parcel)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
    print(json.dumps({"ok": why is None, "why": why and _without(parcel.url, why)}))


def _ping(parcel: Parcel) -> str | None:
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    headers = {"User-Agent": "maejobs", "Content-Type": "text/plain; charset=utf-8"}
    request = Request(parcel.url, parcel.body.encode(), headers, method="POST")
    try:
        urlopen(request, timeout=HTTP_TIMEOUT).close()
    except HTTPError as error:
        return f"HTTP status {error.code}"
    except (URLError, OSError) as error:
        return str(getattr(error, "reason", error))
    return None


def _tell(parcel: Parcel) -> str | None:
    import apprise

    said = _Kept()
    logging.getLogger("apprise").addHandler(said)
    service = apprise.Apprise.instantiate(parcel.url)
    if service is None:
        return said.last or "apprise knows no such service, or the URL lacks something"
    file = apprise.AppriseAttachment(parcel.attachment) if parcel.attachment else None
    # A URL may say otherwise: what is too long for the service is cut, not refused for hours; and
    # text stays text, also in a mail, which would be HTML, without line breaks.
    if "overflow=" not in parcel.url:
        service.overflow_mode = apprise.OverflowMode.TRUNCATE
    if "format=" not in parcel.url:
        service.notify_format = apprise.NotifyFormat.TEXT
    receiver = apprise.Apprise()
    receiver.add(service)
    sent = receiver.notify(
        title=parcel.title,
        body=parcel.body,
        notify_type=parcel.severity,
        # What a command said of itself must be no HTML where that is wanted.
        body_format=apprise.NotifyFormat.TEXT,
        attach=file,
    )
    return None if sent else said.last or "it was not taken"


class _Kept(logging.Handler):
    """Keeps the last warning: apprise itself says only that it failed."""

    last: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.last = record.getMessage()


def _without(url: str, text: str) -> str:
    """`text` on one line, without any part of the URL but its scheme, as written or as meant."""
    parts = re.split(r"[/:@?&=#]+", url.partition("://")[2])
    text = " ".join(hide(text, [url, *parts, *map(unquote, parts)]).split())
    return text[:LONGEST_REASON]


if __name__ == "__main__":
    main()
