"""A disk that is soon full: a small tmpfs, mounted for a test."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="mounting a small disk takes root")


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """Mount one of `size` (`"2m"`) at the directory `place`."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def fill(path: Path, content: bytes = bytes(4096)) -> None:
    """Append `content` to the file over and over until the disk takes no more."""
    with path.open("ab", buffering=0) as file, suppress(OSError):
        while file.write(content):
            pass
    assert shutil.disk_usage(path).free < len(content)
