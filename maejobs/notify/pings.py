"""What a dead man's switch hears of a run: `/start`, then success, `/fail` or `/log`. Pure."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from maejobs.jobs.secrets import hide
from maejobs.notify.message import FAIL, LOG, SUCCESS, Message
from maejobs.rundb.run import SKIPPED, SUCCEEDED, Run

LONGEST_BODY = 10_000  # bytes, which every switch takes
LONGEST_HEAD = 2_000  # of them; a command may give its outcome any reason


def ping(kind: str, url: str, run: Run, now: datetime, log: str = "") -> Message:
    """The ping of `kind` for the run to the check at `url`, with `log` below what it came to."""
    told = f"{run.id} on {run.host}: {_told(run)}".encode()[:LONGEST_HEAD]
    head = f"{told.decode(errors='ignore')}\n"
    room = LONGEST_BODY - len(head.encode())
    end = log.encode()[-room:].decode(errors="ignore")
    return Message(
        name=f"{kind}-{run.id}",
        kind=kind,
        created=now,
        title="",
        body=head + end,
        run=run.id,
        url=url,
    )


def address_of(message: Message) -> str:
    """Where a ping is sent: behind its check's URL, what happened and to which run."""
    suffix = "" if message.kind == SUCCESS else f"/{message.kind}"
    return f"{message.url}{suffix}?rid={rid(message.run or '')}"


def kind_of_end(run: Run, tried_again: bool) -> str:
    """Which ping tells how the run ended.

    One that is `tried_again` has not failed yet, and one that was skipped has not begun: neither
    is to stop the switch's clock. A skipped retry leaves the failure that it was to mend.
    """
    if run.state == SUCCEEDED:
        return SUCCESS
    never_began = run.state == SKIPPED and run.retry_of is None
    return LOG if tried_again or never_began else FAIL


def rid(run: str) -> str:
    """The run's id as switches take it: they want a UUID, the same for its start and its end."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"maejobs:{run}"))


def last_lines(data: bytes, cut: bool, count: int, secrets: Sequence[str]) -> str:
    """The last `count` lines of `data`, the end of a log, without the secrets.

    `cut`: it begins amid a line, maybe amid a secret, so that line is left out.
    """
    text = data.replace(b"\0", b"").decode(errors="replace")
    if cut:
        text = text.partition("\n")[2]
    lines = hide(text, secrets).splitlines()
    return "\n".join(lines[-count:]) if count else ""


def _told(run: Run) -> str:
    told = run.state + (f" ({run.reason})" if run.reason else "")
    return told + (f", took {run.duration:.0f} s" if run.duration is not None else "")
