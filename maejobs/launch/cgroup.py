"""A cgroup (version 2) of a run's own, below ours: the kernel kills all that is in it at once."""

import os
from contextlib import suppress
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
OURS = Path("/proc/self/cgroup")
_PREFIX = "maejobs-"


class Cgroup:
    """One that exists; `dissolve` gives its processes back to ours and deletes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, pid: int) -> None:
        """Move a process in, and with it what it starts from now on. Raises OSError."""
        (self.path / "cgroup.procs").write_text(f"{pid}")

    def members(self) -> list[int]:
        """Its processes; none where it cannot be read."""
        try:
            return [int(line) for line in (self.path / "cgroup.procs").read_text().split()]
        except (OSError, ValueError):
            return []

    def cpu_seconds(self) -> float | None:
        """Processor time of all that ever ran in it; None where it does not tell."""
        try:
            lines = (self.path / "cpu.stat").read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("usage_")) / 1e6
        except (OSError, ValueError, StopIteration):
            return None

    def kill(self) -> None:
        """KILL to all at one stroke; before Linux 5.14 to nobody."""
        with suppress(OSError), (self.path / "cgroup.kill").open("r+") as file:
            file.write("1")

    def dissolve(self) -> None:
        """Delete it; what still runs in it goes on in ours."""
        for pid in self.members():
            with suppress(OSError):
                (self.path.parent / "cgroup.procs").write_text(f"{pid}")
        with suppress(OSError):  # somebody in it has started another process: the next run sweeps
            self.path.rmdir()


def make_cgroup() -> Cgroup | None:
    """A new one, named after this process; None where we may make none.

    What supervisors that are gone have left behind is swept up, as far as it is empty.
    """
    try:  # a place may be named in any bytes: a disk of another system's, say
        parent = own_cgroup(os.fsdecode(MOUNTS.read_bytes()), os.fsdecode(OURS.read_bytes()))
    except OSError:
        return None
    if parent is None or os.getpid() not in Cgroup(parent).members():
        return None  # in a container that sees the host's, say: not to be moved out of there
    with suppress(OSError):  # whatever is in the way of the sweep, the next one goes on
        for path in parent.glob(f"{_PREFIX}*"):
            if not Path("/proc", path.name.removeprefix(_PREFIX)).exists():
                path.rmdir()
    path = parent / f"{_PREFIX}{os.getpid()}"
    try:
        path.mkdir()
    except OSError:
        return None
    return Cgroup(path)


def own_cgroup(mounts: str, membership: str) -> Path | None:
    """The directory of our own cgroup, by the texts of /proc/self/mounts and /proc/self/cgroup.

    None where there is no version 2.
    """
    places = [line.split()[1] for line in mounts.splitlines() if " cgroup2 " in line]
    paths = [line[4:] for line in membership.splitlines() if line.startswith("0::/")]
    return Path(places[0], paths[0]) if places and paths else None
