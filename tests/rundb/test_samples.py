"""Samples enter the database each once, whatever the file holds and whoever dies."""

import json
from pathlib import Path

from recorded_runs import a_run, row, rows

from maejobs.rundb.record import write_run
from maejobs.rundb.samples import ingest_samples, samples_of


def line(**values: object) -> str:
    return json.dumps({"event": "sample", "time": 1772330500, "seconds": 15} | values) + "\n"


def add(file: Path, text: str) -> None:
    with file.open("a") as stream:
        stream.write(text)


def test_each_sample_is_taken_up_once(home, engine, tmp_path):
    file, run = tmp_path / "samples.jsonl", a_run()
    write_run(engine, run)
    assert ingest_samples(engine, run.id, file) == 0
    add(file, line(cpu=0.5) + line(cpu=1.5))
    assert [ingest_samples(engine, run.id, file) for _ in range(2)] == [2, 0]
    add(file, line(cpu=2.5) + '{"event": "sample", "seco')
    assert [ingest_samples(engine, run.id, file) for _ in range(2)] == [1, 0]
    add(file, 'nds": 1}\n')
    assert ingest_samples(engine, run.id, file) == 1
    assert [sample.cpu for sample in samples_of(engine, run.id)] == [0.5, 1.5, 2.5, None]
    assert row(home, "SELECT samples_offset n, samples_step FROM runs") == {
        "n": file.stat().st_size,
        "samples_step": 0,
    }


def test_what_is_no_sample_is_passed_over(home, engine, tmp_path):
    file, run = tmp_path / "samples.jsonl", a_run()
    write_run(engine, run)
    add(file, 'oops\n[]\n{"event": "note"}\n{"event": "sample"}\n')
    add(file, line(cpu="much", memory=1e400, disk_free=10**30, gpu_power=None, gpu_memory=True))
    assert ingest_samples(engine, run.id, file) == 1
    (sample,) = rows(home, "SELECT * FROM v_samples")
    assert {name for name, value in sample.items() if value is not None} == {
        "run",
        "job_name",
        "slot",
        "time",
        "seconds",
    }


def test_samples_of_a_run_that_is_not_there_wait(engine, tmp_path):
    file, run = tmp_path / "samples.jsonl", a_run()
    add(file, line())
    assert ingest_samples(engine, run.id, file) == 0
    write_run(engine, run)
    assert ingest_samples(engine, run.id, file) == 1


def test_a_sample_is_its_own_peak(engine, tmp_path):
    file, run = tmp_path / "samples.jsonl", a_run()
    write_run(engine, run)
    add(file, line(cpu=1.25, memory=10, gpu_memory=20, gpu_power=30.5))
    ingest_samples(engine, run.id, file)
    (sample,) = samples_of(engine, run.id)
    peaks = (sample.cpu_peak, sample.memory_peak, sample.gpu_memory_peak, sample.gpu_power_peak)
    assert peaks == (1.25, 10, 20, 30.5)
