"""A zone that has no name but a rule, as POSIX writes it into `TZ`: `EST5EDT,M3.2.0,M11.1.0`."""

import re
import struct
from datetime import tzinfo
from functools import cache
from io import BytesIO

RULE = re.compile(r"([A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)[+-]?[0-9][^\n]*")


@cache
def posix_zone(text: str) -> tzinfo:
    """The zone of the rule. Raises ValueError where `text` is none, or leaves out when it changes.

    zoneinfo reads such rules at the end of a zone's file, for the years that the file does not list
    (RFC 9636): so it gets a file that lists none.
    """
    from zoneinfo import ZoneInfo

    if not RULE.fullmatch(text):
        raise ValueError(f"{text!r} is no zone's rule")
    # No leap seconds and no changes; one type of local time, UTC, that is called by a NUL.
    part = struct.pack(">4sc15x6l", b"TZif", b"2", 0, 0, 0, 0, 1, 1) + bytes(6 + 1)
    return ZoneInfo.from_file(BytesIO(part + part + f"\n{text}\n".encode()), text)
