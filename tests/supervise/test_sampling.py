"""What a run takes of its host: samples while it runs, totals afterwards, and never its end."""

import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from databases import away
from fake_nvml import gpu_host, nvml_directory  # noqa: F401 (fixtures)
from recorded_runs import a_run, rows
from running import READY, end_of, only_run, python, shell, supervisor, wait_for

from maejobs.launch.gpu_meter import GpuLoad
from maejobs.launch.usage import Usage
from maejobs.supervise import sampling
from maejobs.supervise.execute import execute
from maejobs.supervise.sampling import Look, Totals, energy_between, pause_after, sample_of
from maejobs.watch.reconcile import reconcile

MAEJOBS = Path(sys.executable).parent / "maejobs"
IDLE = Usage(0.0, 0, 0, 0)
MB = 1_000_000

# 60 MB in each of two processes, one of which burns; 8 MB that reach the disk.
BUSY = """
import os, time
held = bytearray(60_000_000)
if os.fork() == 0:
    held[::4096] = bytes(len(held[::4096]))
    end = time.monotonic() + 4
    while time.monotonic() < end:
        pass
    os._exit(0)
with open("written", "wb") as file:
    file.write(os.urandom(8_000_000))
    os.fsync(file.fileno())
os.wait()
"""


def look(at: float, usage: Usage = IDLE, **gpus: float) -> Look:
    return Look(at, usage, GpuLoad(**gpus))


def test_samples_are_frequent_at_first_and_rare_after_days():
    assert [pause_after(seconds) for seconds in (0, 1, 4, 100)] == [0.5, 1, 4, 15]
    at, count = 0.0, 0
    while at < 60 * 86400:
        at += pause_after(at)
        count += 1
    assert count < 15_000


def test_a_sample_is_what_was_used_between_two_looks():
    sample = sample_of(
        look(10.0, Usage(3.0, 100, 5, 7)), look(12.0, Usage(6.0, 200, 5, 1007), power=50.0)
    )
    assert (sample["seconds"], sample["cpu"], sample["memory"]) == (2, 1.5, 200)
    assert (sample["bytes_read"], sample["bytes_written"]) == (0, 1000)
    assert (sample["gpu_power"], sample["gpu_memory"]) == (50, None)


def test_what_an_orphan_took_with_it_is_nothing_negative():
    sample = sample_of(look(0.0, Usage(9.0, 1, 9, 9)), look(1.0, Usage(1.0, 1, 1, 1)))
    assert (sample["cpu"], sample["bytes_read"], sample["bytes_written"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("first", "last", "joules"),
    [
        ({"energy": 100.0, "power": 5.0}, {"energy": 160.0, "power": 5.0}, 60.0),
        ({"energy": 100.0, "power": 10.0}, {"energy": 3.0, "power": 20.0}, 30.0),  # loaded anew
        ({}, {"power": 20.0}, 40.0),
        ({"power": 20.0}, {}, None),
    ],
)
def test_energy_is_by_the_counters_else_by_power(first, last, joules):
    assert energy_between(look(0.0, **first), look(2.0, **last)) == joules


def test_totals_weigh_by_time_and_keep_peaks():
    totals = Totals()
    totals.add(look(0.0), look(1.0, Usage(0, 7, 0, 0), utilisation=1.0, memory=30))
    totals.add(look(1.0), look(4.0, Usage(0, 5, 0, 0), utilisation=0.2, memory=10))
    totals.add(look(4.0), look(9.0))
    assert (totals.peak_memory, totals.peak_gpu_memory) == (7, 30)
    assert totals.gpu_utilisation == pytest.approx(0.4)
    assert totals.energy is None


def test_a_run_tells_what_its_whole_tree_took(home, write_job, tmp_path):
    write_job("night", python(f"import os; os.chdir({str(tmp_path)!r})\n{BUSY}"))
    assert execute(home, "night", "manual").run.state == "succeeded"

    run = only_run(home, "night")
    samples = rows(home, "SELECT * FROM v_samples ORDER BY time")
    assert len(samples) >= 2
    assert samples[0]["run"] == run.id
    assert run.peak_tree_memory >= max(sample["memory"] for sample in samples) > 100 * MB
    assert max(sample["cpu"] for sample in samples) > 0.02
    spent = sum(sample["cpu"] * sample["seconds"] for sample in samples)
    assert spent <= run.cpu_seconds + 1
    assert all(sample["disk_free"] > 0 for sample in samples)
    if _counts_writes(tmp_path):
        assert run.bytes_written >= 8 * MB
    assert (run.gpu_seconds, run.energy, samples[0]["gpu_power"]) == (None, None, None)


def _counts_writes(directory: Path) -> bool:
    """Whether the kernel counts what is written here: not in memory, say."""
    script = "import os; f = open('x', 'wb'); f.write(bytes(4096)); f.flush(); os.fsync(f)"
    look = "; print(open('/proc/self/io').read())"
    done = subprocess.run(
        [sys.executable, "-c", script + look], cwd=directory, capture_output=True, text=True
    )
    return "\nwrite_bytes: 0\n" not in done.stdout


def test_samples_are_in_the_database_while_the_run_goes_on(home, write_job):
    write_job("night", shell(READY + "sleep 60"))
    process = supervisor(home, "night")
    try:
        wait_for(lambda: rows(home, "SELECT * FROM v_samples"))
        assert only_run(home, "night").state == "running"
    finally:
        process.send_signal(signal.SIGTERM)
        end_of(process)


@pytest.mark.both_databases
@pytest.mark.fault
def test_samples_of_a_time_without_a_database_arrive_later(home, write_job):
    write_job("night", shell("sleep 1.2"))
    with away(home):
        assert execute(home, "night", "manual").run.state == "succeeded"
    assert rows(home, "SELECT * FROM v_samples") == []
    reconcile(home)
    taken = rows(home, "SELECT * FROM v_samples")
    assert taken
    reconcile(home)
    assert rows(home, "SELECT * FROM v_samples") == taken


@pytest.mark.fault
def test_a_samples_file_that_cannot_be_written_costs_samples_only(home, write_job):
    write_job("night", shell("ln -s /etc/passwd $MAEJOBS_RUN_DIR/samples.jsonl; sleep 1.2"))
    before = Path("/etc/passwd").read_bytes()
    run = execute(home, "night", "manual").run
    assert (run.state, Path("/etc/passwd").read_bytes()) == ("succeeded", before)
    assert run.peak_tree_memory > 0


GPUS = "gpu = { count = 2 }\n" + shell("until [ -e $HOME/go ]; do sleep 0.1; done")


def test_a_run_on_gpus_tells_what_they_did(
    home,
    write_job,
    maejobs,
    gpu_host,  # noqa: F811
    tmp_path,
):
    write_job("train", GPUS)
    loads = tmp_path / "loads"
    loads.write_text("90 300000 60 5000000\n50 100000 71 1000\n0 0 0 0\n")
    host = gpu_host([], [], [], free=78_000_000_000) | {"FAKE_NVML_LOAD": str(loads)}
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home.root), **host}
    process = subprocess.Popen(
        [MAEJOBS, "--home", home.root, "exec", "train"], env=environment, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: list(home.runs_dir.glob("train/*/samples.jsonl")))
    changed = loads.with_suffix(".new")
    changed.write_text("90 300000 60 5600000\n50 100000 71 201000\n0 0 0 0\n")
    changed.replace(loads)
    (home.root / "go").touch()
    assert process.wait(60) == 0

    (run,) = json.loads(maejobs("runs", "--json").stdout)
    assert run["gpu_seconds"] > 2 * 0.5
    assert run["energy"] == 800
    assert run["gpu_utilisation"] == pytest.approx(0.7)
    assert run["peak_gpu_memory"] == 4_000_000_000
    (sample, *_) = rows(home, "SELECT * FROM v_samples")
    assert (sample["gpu_memory"], sample["gpu_power"]) == (4_000_000_000, 400)
    assert (sample["gpu_utilisation"], sample["gpu_temperature"]) == (pytest.approx(0.7), 71)


@pytest.mark.fault
def test_a_driver_that_no_longer_answers_keeps_nobody_from_the_deadline(
    write_job,
    maejobs,
    gpu_host,  # noqa: F811
    tmp_path,
):
    write_job("train", GPUS + 'timeout = "1s"\n')
    loads = tmp_path / "loads"
    loads.write_text("hang\nhang\n")
    began = time.monotonic()
    maejobs("exec", "train", **gpu_host([], []), FAKE_NVML_LOAD=str(loads))
    assert time.monotonic() - began < 40
    (run,) = json.loads(maejobs("runs", "--json").stdout)
    assert run["state"] == "timed_out"


@pytest.mark.fault
def test_a_driver_that_is_gone_costs_the_gpus_samples_only(home, monkeypatch, tmp_path):
    class NoTree:
        def usage(self) -> Usage:
            return Usage(0.0, 123, 0, 0)

    monkeypatch.setattr(sampling, "FIRST_SECONDS", 0.01)
    run = a_run(directory=str(tmp_path))
    with sampling.sampled(run, NoTree(), tmp_path, [0]):  # there is no such library here
        wait_for((tmp_path / "samples.jsonl").exists)
    assert (run.peak_tree_memory, run.energy) == (123, None)
    assert run.gpu_seconds > 0


@pytest.mark.fault
def test_a_look_that_fails_costs_its_sample_and_not_those_that_follow(monkeypatch, tmp_path):
    looks = []

    class Tree:
        def usage(self) -> Usage:
            looks.append(1)
            if len(looks) < 3:
                raise OSError(errno.EMFILE, "Too many open files")
            return Usage(0.0, 123, 0, 0)

    monkeypatch.setattr(sampling, "pause_after", lambda elapsed: 0.01)
    run = a_run(directory=str(tmp_path))
    with sampling.sampled(run, Tree(), tmp_path, []):
        wait_for(lambda: len(looks) > 3)
    assert run.peak_tree_memory == 123
