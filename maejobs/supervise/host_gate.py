"""The gate of jobs that ask for a quiet host, or for one that will not run out of battery."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from maejobs.errors import NotNow
from maejobs.jobs.model import HostNeed

SUPPLIES = Path("/sys/class/power_supply")
POLL_SECONDS = 5.0  # as often as the kernel counts anew


@dataclass(frozen=True)
class HostState:
    """How busy a host is, and on what it runs.

    `load` is the load average of the last minute a core; None: the host does not tell. `battery`
    is how full it is, from 0 to 1; None: on mains, or nobody knows of a battery.
    """

    load: float | None
    battery: float | None


def read_host() -> HostState:
    """This host, now."""
    try:
        load = os.getloadavg()[0] / (os.cpu_count() or 1)
    except OSError:
        load = None
    return HostState(load, _battery())


def check_host(state: HostState, need: HostNeed) -> None:
    """Raises NotNow where the host is not as `need` asks for."""
    if need.load is not None and state.load is not None and state.load > need.load:
        raise NotNow(
            "host_busy",
            f"the host's load is {state.load:.2f} a core, the job asks for {need.load:g} at most",
        )
    if need.battery is not None and state.battery is not None and state.battery < need.battery:
        raise NotNow(
            "on_battery",
            f"the host is on battery, {state.battery:.0%} full, "
            f"the job asks for {need.battery:.0%} at least",
        )


def wait_for_host(
    need: HostNeed,
    patience: float,
    give_up: Callable[[], bool],
    read: Callable[[], HostState] = read_host,
) -> None:
    """`check_host`, again and again for up to `patience` seconds. Raises NotNow."""
    latest = time.monotonic() + patience
    while True:
        try:
            return check_host(read(), need)
        except NotNow:
            left = latest - time.monotonic()
            if left <= 0 or give_up():
                raise
            _sleep(min(POLL_SECONDS, left), give_up)


def _sleep(seconds: float, give_up: Callable[[], bool]) -> None:
    """Sleep so long, but for less than a second once `give_up` says so."""
    latest = time.monotonic() + seconds
    while (left := latest - time.monotonic()) > 0 and not give_up():
        time.sleep(min(left, 0.5))


def _battery() -> float | None:
    try:
        battery = psutil.sensors_battery() if _has_own_battery() else None
    except Exception:  # whatever a machine's firmware tells, a run is not to fail of it
        return None
    if battery is None or battery.power_plugged is not False:
        return None
    return float(battery.percent) / 100


def _has_own_battery() -> bool:
    """Whether the host runs on a battery at all: psutil takes a mouse's for one as well."""
    return any(
        path.read_text().strip() == "Battery" and not _is_of_a_device(path.parent)
        for path in SUPPLIES.glob("*/type")
    )


def _is_of_a_device(supply: Path) -> bool:
    scope = supply / "scope"
    return scope.exists() and scope.read_text().strip() == "Device"
