"""Pictures of the night: read from where a run's event says, if that is one."""

import os
import stat
from pathlib import Path

LARGEST = 1_000_000  # bytes
PNG = b"\x89PNG\r\n\x1a\n"


def read_picture(path: Path) -> bytes | None:
    """The PNG at `path`; None where there is none, or it is too large to be sent about.

    It goes out of the host, so it must be a picture by its name and by its bytes, and no link: an
    event that names another file sends nothing.
    """
    if path.suffix != ".png":
        return None
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except (OSError, ValueError):  # ValueError: a NUL in it
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            return None
        data = file.read(LARGEST)
    return data if data.startswith(PNG) else None
