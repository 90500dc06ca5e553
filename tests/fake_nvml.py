"""A host with GPUs that has none: nvidia-ml-py on a library of the tests' own.

A GPU cannot be had where the tests run; the binding and all that is above it are real.
"""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")
FREE = 80_000_000_000


@pytest.fixture(scope="session")
def nvml_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for LD_LIBRARY_PATH; skips where there is no compiler."""
    directory = tmp_path_factory.mktemp("nvml")
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", SOURCE]
    try:
        compiled = subprocess.run(
            [*command, "-o", directory / "libnvidia-ml.so.1"], capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("a stand-in for NVML needs a C compiler, and `cc` is missing")
    if "stdlib.h" in compiled.stderr:
        pytest.skip("a stand-in for NVML needs the C library's headers (libc6-dev)")
    assert (compiled.stderr, compiled.returncode) == ("", 0)
    return directory


@pytest.fixture
def gpu_host(nvml_directory: Path, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """`gpu_host([], [77])`: a host whose second GPU computes for pid 77; the environment it is in.

    Called again, it changes the host. `free` is each GPU's free memory in bytes. A word in place of
    the processes is what is the matter with it: "lost", "mig", "shared" (see the library's source).
    """
    state = tmp_path / "nvml"

    def host(*processes: Sequence[int] | str, free: int = FREE) -> dict[str, str]:
        lines = (p if isinstance(p, str) else " ".join(map(str, (free, *p))) for p in processes)
        changed = state.with_suffix(".new")
        changed.write_text("".join(f"{line}\n" for line in lines))
        changed.replace(state)
        return {"LD_LIBRARY_PATH": str(nvml_directory), "FAKE_NVML": str(state)}

    return host
