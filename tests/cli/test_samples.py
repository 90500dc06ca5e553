"""What a run took of its host, as a user asks for it."""

import json

import pytest
from recorded_runs import a_run, at_home

from maejobs.rundb.database import open_database
from maejobs.rundb.record import write_run
from maejobs.rundb.samples import SAMPLES_NAME, ingest_samples

LINES = """\
{"event": "sample", "time": 1772330400, "seconds": 1, "cpu": 0.5, "memory": 1000000}
{"event": "sample", "time": 1772330415, "seconds": 15, "cpu": 1.25, "memory": 9000000}
"""
ON_GPU = """\
{"event": "sample", "time": 1772330430, "seconds": 15, "gpu_utilisation": 0.75, \
"gpu_memory": 4000000000, "gpu_power": 301.5, "gpu_temperature": 61}
"""


def record(home, lines: str, **fields) -> None:
    run = a_run(**fields)
    file = at_home(home, run.id) / SAMPLES_NAME
    file.write_text(lines)
    with open_database(home) as engine:
        write_run(engine, run)
        ingest_samples(engine, run.id, file)


def test_samples_are_shown_oldest_first_and_the_last_ones_if_asked(home, inside):
    record(home, LINES)
    header, *shown = inside("samples", "pretrain").stdout.splitlines()
    assert header.split() == "until for cores memory read written disk free".split()  # noqa: SIM905
    assert [line.split()[2:5] for line in shown] == [
        ["1.0s", "0.50", "1.0"],
        ["15s", "1.25", "9.0"],
    ]
    (_, last) = inside("samples", "pretrain", "-n", "1").stdout.splitlines()
    assert last.split() == shown[1].split()


def test_gpus_are_shown_where_there_are_any(home, inside):
    record(home, LINES + ON_GPU)
    out = inside("samples", "pretrain").stdout
    for words in ("gpu memory", "75%", "4.0 GB", "302 W", "61 °C"):
        assert words in out


def test_programs_are_told_everything(home, inside):
    record(home, LINES)
    first, second = json.loads(inside("samples", "pretrain", "--json").stdout)
    assert (first["time"], first["seconds"]) == ("2026-03-01T02:00:00+00:00", 1)
    assert (second["cpu"], second["memory_peak"], second["gpu_power"]) == (1.25, 9_000_000, None)


def test_a_run_without_any_and_one_that_is_not_there_say_so(home, inside):
    record(home, "")
    assert inside("samples", "pretrain").stdout == "no samples of pretrain-20260301T0200Z-1\n"
    assert json.loads(inside("samples", "pretrain", "--json").stdout) == []
    missing = inside("samples", "xyzzy")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)


@pytest.mark.both_databases
def test_show_tells_the_totals(home, inside):
    totals = {
        "peak_tree_memory": 3 * 10**9,
        "bytes_read": 10**6,
        "bytes_written": 2 * 10**9,
        "gpu_seconds": 7200.0,
        "gpu_utilisation": 0.834,
        "peak_gpu_memory": 5 * 10**9,
        "energy": 7.2e6,
    }
    record(home, "", **totals)
    out = inside("show", "pretrain").stdout
    for words in (
        "3.0 GB",
        "1.0 MB read, 2.0 GB written",
        "held for 2h 00m 00s, 83% busy, 5.0 GB at most",
        "2.000 kWh",
    ):
        assert words in out
    assert totals.items() <= json.loads(inside("show", "pretrain", "--json").stdout).items()
