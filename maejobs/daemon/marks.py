"""What the daemon leaves in the home: a heartbeat, and the boot its @reboot jobs were started in.

Each table has its own, as one home may have several served. They are the home's owner's, also where
root runs the daemon.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from maejobs.cron.target import Target
from maejobs.files import write_atomically
from maejobs.home import Home
from maejobs.privilege import acting_as, owner_of

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
FIRST_PROCESS = Path("/proc/1/stat")
STARTED_FIELD = 19  # of /proc/PID/stat, counted behind the name


def heartbeat_file(home: Home, target: Target) -> Path:
    return home.root / f"daemon.{target.slug}.heartbeat"


def boot_file(home: Home, target: Target) -> Path:
    return home.root / f"daemon.{target.slug}.boot"


def write_heartbeat(path: Path, beat: dict[str, Any]) -> None:
    """Raises OSError."""
    with acting_as(owner_of(path.parent)):
        write_atomically(path, json.dumps(beat).encode())


def read_heartbeat(path: Path) -> datetime | None:
    """When the daemon last beat; None: nothing readable."""
    try:
        return datetime.fromisoformat(json.loads(path.read_bytes())["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_zone(path: Path) -> str | None:
    """The zone in which the daemon schedules; None: nothing readable."""
    try:
        zone = json.loads(path.read_bytes())["zone"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return zone if isinstance(zone, str) else None


def is_new_boot(marker: Path) -> bool:
    """Whether the host or the container was started since `marker` was written.

    A boot is the kernel's boot id and the start of process 1, which a container has anew.
    """
    try:
        return marker.read_bytes() != _boot()
    except OSError:
        return True


def mark_boot(marker: Path) -> None:
    """Raises OSError."""
    with acting_as(owner_of(marker.parent)):
        write_atomically(marker, _boot())


def _boot() -> bytes:
    try:
        started = FIRST_PROCESS.read_text().rpartition(") ")[2].split()[STARTED_FIELD]
    except OSError:  # others' processes are hidden (hidepid): a daemon in a container sees its own
        started = "?"
    return f"{BOOT_ID.read_text().strip()} {started}\n".encode()
