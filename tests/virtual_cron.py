"""Real daemons in virtual time: a year of cron's decisions in seconds, on any clock.

virtual_cron.c is preloaded into the daemon: its sleeps take no time, its clock jumps when told to,
and each command it would start is written down instead. The mount namespace is private_cron's.
"""

import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cronie import cronie, why_not_cronie
from private_cron import PrivateCron, why_not

# No other job of this machine may be started by the daemon under test.
ALONE = 'mount -t tmpfs tmpfs /etc/cron.d && mount --bind /dev/null /etc/crontab && exec "$@"'
SOURCE = Path(__file__).with_name("virtual_cron.c")


class Firing(NamedTuple):
    """What the daemon started: `at` its clock, `job` the number of the expression."""

    at: datetime
    job: int


@dataclass(frozen=True)
class Daemon:
    name: str
    wakes_at: int  # the second of the minute
    why_not: Callable[[], str | None]
    command: Callable[[Path], list[str]]  # takes the library to preload


def _why_not_debian() -> str | None:
    return None if Path("/usr/sbin/cron").exists() else "/usr/sbin/cron is missing"


DEBIAN = Daemon(
    "debian",
    1,
    _why_not_debian,
    lambda shim: ["env", f"LD_PRELOAD={shim}", "/usr/sbin/cron", "-f", "-L", "1"],
)
CRONIE = Daemon(
    "cronie",
    0,
    why_not_cronie,
    lambda shim: cronie("sbin/crond", "-n", "-m", "off", preload=shim),
)


@pytest.fixture(scope="session")
def virtual_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library to preload, compiled once; skips where there is no compiler."""
    if reason := why_not():
        pytest.skip(reason)
    library = tmp_path_factory.mktemp("clock") / "virtual_cron.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-o", library, SOURCE]
    try:
        compiled = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("virtual time needs a C compiler, and `cc` is missing")
    if "features.h" in compiled.stderr or "stdlib.h" in compiled.stderr:
        pytest.skip("virtual time needs the C library's headers (libc6-dev)")
    assert (compiled.stderr, compiled.returncode) == ("", 0)
    return library


@pytest.fixture(params=[DEBIAN, CRONIE], ids=lambda daemon: daemon.name)
def daemon(request: pytest.FixtureRequest) -> Daemon:
    """Each of the real daemons there is; skips, saying why, one that is missing."""
    if reason := request.param.why_not():
        pytest.skip(reason)
    return request.param


def firings(
    daemon: Daemon,
    virtual_clock: Path,
    directory: Path,
    expressions: Iterable[str],
    zone: str,
    start: datetime,
    length: timedelta,
    jumps: Sequence[tuple[timedelta, timedelta]] = (),
) -> list[Firing]:
    """What the daemon starts within `length` of running, in order; `directory` is its own.

    `jumps`: (how long after the start the clock is set, by how much), in order.
    """
    cron = PrivateCron(directory / "spool")
    table = cron.spool / "crontabs" / "root"
    table.write_text("".join(f"{text} {job}\n" for job, text in enumerate(expressions)))
    table.chmod(0o600)
    record = directory / "record"
    record.touch()
    settings = {
        "TZ": zone,
        "LD_BIND_NOW": "1",
        "VIRTUAL_START": f"{start.timestamp():.0f}",
        "VIRTUAL_LENGTH": f"{length.total_seconds():.0f}",
        "VIRTUAL_JUMPS": " ".join(
            f"{after.total_seconds():.0f}:{by.total_seconds():.0f}" for after, by in jumps
        ),
        "VIRTUAL_RECORD": str(record),
    }
    ended = subprocess.run(
        cron.command("sh", "-c", ALONE, "sh", *daemon.command(virtual_clock)),
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return [
        Firing(datetime.fromtimestamp(int(at), UTC), int(job))
        for at, job in (line.split() for line in record.read_text().splitlines())
    ]
