"""What NVML tells, through nvidia-ml-py itself (the library below it is the tests' own)."""

import json
import os
import subprocess
import sys

import pytest
from fake_nvml import gpu_host, nvml_directory  # noqa: F401 (fixtures)

from maejobs.launch.gpus import Gpu, why_busy

ASK = """
import json
from maejobs.launch.gpus import NoGpus, read_gpus
try:
    print(json.dumps([[gpu.index, gpu.free, gpu.processes] for gpu in read_gpus()]))
except NoGpus as error:
    print(json.dumps(str(error)))
"""


def seen(environment: dict[str, str]):
    done = subprocess.run(
        [sys.executable, "-c", ASK], env={**os.environ, **environment}, capture_output=True
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


@pytest.mark.parametrize(
    ("gpu", "free", "why"),
    [
        (Gpu(0, 10**9, ()), None, None),
        (Gpu(0, 10**9, ()), 10**9, None),
        (Gpu(1, 10**9, ()), 2 * 10**9, "GPU 1 has 1.0 GB of 2.0 GB free"),
        (Gpu(1, 10**9, (7, 8)), None, "GPU 1 computes for pid 7, 8"),
    ],
)
def test_a_gpu_is_busy_for_a_reason(gpu, free, why):
    assert why_busy(gpu, free) == why
