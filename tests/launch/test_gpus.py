"""What NVML tells, through nvidia-ml-py itself (the library below it is the tests' own)."""

import json
import os
import subprocess
import sys
import threading

import pytest
from fake_nvml import gpu_host, nvml_directory  # noqa: F401 (fixtures)

from maejobs.launch import gpus
from maejobs.launch.gpus import Gpu, why_busy

ASK = """
import json
from maejobs.launch.gpus import NoGpus, read_gpus
try:
    print(json.dumps([[gpu.index, gpu.free, gpu.processes] for gpu in read_gpus()]))
except NoGpus as error:
    print(json.dumps(str(error)))
"""


def seen(environment: dict[str, str], ask: str = ASK):
    done = subprocess.run(
        [sys.executable, "-c", ask], env={**os.environ, **environment}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_every_gpu_is_told_with_its_memory_and_who_computes_on_it(gpu_host):  # noqa: F811
    host = gpu_host([], [12, 345], free=1000)
    assert seen(host) == [[0, 1000, []], [1, 1000, [12, 345]]]


def test_a_host_without_a_driver_or_with_one_that_does_not_answer_says_so(gpu_host):  # noqa: F811
    assert seen({}) == "no GPU can be seen: NVML Shared Library Not Found"
    host = {**gpu_host([]), "FAKE_NVML": "/no/such"}
    assert seen(host) == "no GPU can be seen: Driver Not Loaded"


def test_a_driver_that_hangs_is_given_up_and_keeps_nobody_from_being_told_to_stop(monkeypatch):
    monkeypatch.setattr(gpus, "_read_all", threading.Event().wait)
    monkeypatch.setattr(gpus, "LOOK_SECONDS", 0.01)
    for patience, give_up in ((60, lambda: True), (0.1, lambda: False)):
        monkeypatch.setattr(gpus, "ANSWER_SECONDS", patience)
        with pytest.raises(gpus.NoGpus, match="their driver does not answer"):
            gpus.read_gpus(give_up)


WHOLE = """
import json
from dataclasses import astuple
from maejobs.launch.gpus import cuda_variables, read_gpus
gpus = read_gpus()
print(json.dumps([*map(astuple, gpus), cuda_variables(gpus[1:])["CUDA_VISIBLE_DEVICES"]]))
"""


def test_one_that_is_sick_keeps_nobody_from_the_others(gpu_host):  # noqa: F811
    *told, visible = seen(gpu_host("lost", [], "mig", "shared", free=1000), WHOLE)
    assert told == [
        [0, None, [], "GPU is lost", None],
        [1, 1000, [], None, "GPU-1-of-the-tests"],
        [2, None, [], "Insufficient Permissions", None],
        [3, None, [], None, "GPU-3-of-the-tests"],
    ]
    assert visible.startswith("GPU-1-of-the-tests,")  # whose number may be another's for CUDA
    assert seen(gpu_host([], "shared", []), WHOLE)[-1] == "1,2"


@pytest.mark.parametrize(
    ("gpu", "free", "why"),
    [
        (Gpu(0, 10**9, ()), None, None),
        (Gpu(0, 10**9, ()), 10**9, None),
        (Gpu(1, 10**9, ()), 2 * 10**9, "GPU 1 has 1.0 GB of 2.0 GB free"),
        (Gpu(1, 10**9, (7, 8)), None, "GPU 1 computes for pid 7, 8"),
        (Gpu(1, None, (), "GPU is lost"), None, "GPU 1 cannot be used: GPU is lost"),
        (Gpu(1, None, ()), None, None),
        (Gpu(1, None, ()), 1, "GPU 1 does not tell how much memory it has free"),
    ],
)
def test_a_gpu_is_busy_for_a_reason(gpu, free, why):
    assert why_busy(gpu, free) == why


METER = """
import json
from maejobs.launch.gpu_meter import GpuMeter
from maejobs.launch.gpus import NoGpus
try:
    print(json.dumps(GpuMeter([0, 2]).read()))
except NoGpus as error:
    print(json.dumps(str(error)))
"""


def test_a_meter_sums_over_its_gpus_and_leaves_out_what_one_does_not_tell(
    gpu_host,  # noqa: F811
    tmp_path,
):
    loads = tmp_path / "loads"
    loads.write_text("90 300000 60\n0\n30 100500 55 7000\n")
    host = gpu_host([], [], [], free=70_000_000_000) | {"FAKE_NVML_LOAD": str(loads)}
    assert seen(host, METER) == [0.6, 20_000_000_000, 400.5, 60, None]
    silent = gpu_host([], [], [], free=70_000_000_000)
    assert seen(silent, METER) == [None, 20_000_000_000, None, None, None]


def test_a_meter_of_a_gpu_that_is_not_there_says_so(gpu_host):  # noqa: F811
    assert "cannot be asked" in seen(gpu_host([]), METER)
    assert "cannot be asked" in seen({}, METER)
