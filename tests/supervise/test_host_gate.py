"""A quiet host, on mains or with enough in its battery.

What the kernel tells of load is real. A battery is none that the machines of the tests have: psutil
reads it from files like the kernel's, in a directory of ours instead of /sys.
"""

import multiprocessing
import time
from pathlib import Path

import psutil
import pytest
from running import wait_for

from maejobs.errors import NotNow
from maejobs.jobs.model import HostNeed
from maejobs.supervise import host_gate
from maejobs.supervise.execute import execute
from maejobs.supervise.host_gate import HostState, check_host, read_host, wait_for_host


@pytest.fixture
def power_supply(tmp_path: Path, monkeypatch):
    """`power_supply(battery={"capacity": 20, ...}, mains={"online": 0})`; none: no such thing."""
    supplies = tmp_path / "power_supply"
    supplies.mkdir()
    monkeypatch.setattr(psutil._pslinux, "POWER_SUPPLY_PATH", str(supplies))
    monkeypatch.setattr(host_gate, "SUPPLIES", supplies)

    def plug(**devices: dict[str, object]) -> None:
        for device, files in devices.items():
            directory = supplies / DEVICES[device]
            directory.mkdir(exist_ok=True)
            for name, value in files.items():
                (directory / name).write_text(f"{value}\n")

    return plug


DEVICES = {"battery": "BAT0", "mains": "AC0", "mouse": "hidpp_battery_0"}
DISCHARGING = {
    "type": "Battery",
    "status": "Discharging",
    "energy_now": 20,
    "energy_full": 100,
    "power_now": 5,
}


def test_a_busy_host_is_told_with_both_loads():
    check_host(HostState(0.5, None), HostNeed(load=0.5))
    check_host(HostState(None, None), HostNeed(load=0.5))
    with pytest.raises(NotNow, match=r"load is 0\.51 a core, the job asks for 0\.5") as no:
        check_host(HostState(0.51, None), HostNeed(load=0.5))
    assert no.value.reason == "host_busy"


def test_a_battery_that_runs_low_is_told():
    check_host(HostState(9.0, 0.3), HostNeed(battery=0.3))
    check_host(HostState(9.0, None), HostNeed(battery=1.0))
    with pytest.raises(NotNow, match="on battery, 29% full, the job asks for 30% at least") as no:
        check_host(HostState(0.0, 0.29), HostNeed(load=1.0, battery=0.3))
    assert no.value.reason == "on_battery"


def test_a_host_without_a_battery_is_on_mains(power_supply):
    assert read_host().battery is None
    power_supply(mains={"online": 1})
    assert read_host().battery is None


def test_only_a_battery_that_is_being_used_counts(power_supply):
    power_supply(battery=DISCHARGING, mains={"online": 0})
    assert read_host().battery == pytest.approx(0.2)
    power_supply(mains={"online": 1})
    assert read_host().battery is None


@pytest.mark.parametrize(
    "files",
    [
        {"type": "Battery", "status": "Unknown", "energy_now": 20, "energy_full": 100},
        {"type": "Battery", "status": "Discharging"},
        DISCHARGING | {"energy_now": "twenty", "energy_full": 0},
        {},
    ],
)
def test_a_battery_that_makes_no_sense_keeps_no_run_waiting(power_supply, files):
    power_supply(battery=files)
    assert read_host().battery is None


def test_a_mouse_is_no_laptop(power_supply):
    power_supply(mouse=DISCHARGING | {"scope": "Device"})
    assert read_host().battery is None
    power_supply(battery=DISCHARGING | {"energy_now": 70})
    assert read_host().battery == pytest.approx(0.7)


def test_the_load_is_the_kernels_own_a_core():
    one_minute = float(Path("/proc/loadavg").read_text().split()[0])
    load = read_host().load
    assert load is not None
    assert load == pytest.approx(one_minute / psutil.cpu_count(), abs=0.5)


def test_it_waits_for_quiet_and_not_past_its_patience_or_a_signal(monkeypatch):
    monkeypatch.setattr(host_gate, "POLL_SECONDS", 0.01)
    states = iter([HostState(3.0, None), HostState(2.0, None), HostState(1.0, None)])
    need = HostNeed(load=1.0)
    wait_for_host(need, 60, lambda: False, lambda: next(states))

    began = time.monotonic()
    with pytest.raises(NotNow, match="load is 3"):
        wait_for_host(need, 0.1, lambda: False, lambda: HostState(3.0, None))
    with pytest.raises(NotNow):
        wait_for_host(need, 60, lambda: True, lambda: HostState(3.0, None))
    assert time.monotonic() - began < 30


def burn() -> None:
    while True:
        pass


def test_a_run_is_skipped_while_the_host_is_busy_and_runs_where_it_may(home, write_job):
    write_job("night", 'command = ["true"]\nhost = { load = 0.001, wait = "0.1s" }\n')
    write_job("easy", 'command = ["true"]\nhost = { load = 1000, battery = 0.5 }\n')
    burner = multiprocessing.get_context("spawn").Process(target=burn, daemon=True)
    burner.start()
    try:
        wait_for(lambda: (read_host().load or 0) > 0.001, 60)
        run = execute(home, "night", "manual").run
    finally:
        burner.kill()
        burner.join()
    assert (run.state, run.reason) == ("skipped", "host_busy")
    assert execute(home, "easy", "manual").run.state == "succeeded"


def test_a_run_is_skipped_while_the_battery_is_low(home, write_job, power_supply):
    power_supply(battery=DISCHARGING, mains={"online": 0})
    write_job("night", 'command = ["true"]\nhost = { battery = 0.3 }\n')
    run = execute(home, "night", "manual").run
    assert (run.state, run.reason) == ("skipped", "on_battery")
    power_supply(mains={"online": 1})
    assert execute(home, "night", "manual").run.state == "succeeded"
