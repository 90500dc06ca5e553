"""Locks that death releases."""

import fcntl
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

import pytest

from maejobs.supervise.locks import acquire, holder_of

HOLD = (
    "import sys, time; from pathlib import Path; from maejobs.supervise.locks import acquire;"
    "lock = acquire(Path(sys.argv[1]), 'the other'); print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "job-night.lock"


@pytest.fixture
def other(path: Path):
    """Another process that holds the lock."""
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_a_lock_has_one_holder_at_a_time(path):
    with acquire(path, "first"):
        assert acquire(path, "second") is None

    assert acquire(path, "second") is not None


def test_the_holder_is_named(path):
    with acquire(path, "a rather long name"):
        pass
    with acquire(path, "short"):
        assert holder_of(path) == "short"


def test_a_lock_nobody_ever_took_has_no_name(path):
    assert holder_of(path) == "another run"


def test_a_killed_holder_holds_nothing(path, other):
    assert acquire(path, "us") is None
    assert holder_of(path) == "the other"

    other.kill()
    other.wait()

    assert acquire(path, "us") is not None


def test_who_waits_gets_it_as_soon_as_it_is_free(path, other):
    start = time.monotonic()
    assert acquire(path, "us", timeout=0.4) is None
    assert time.monotonic() - start >= 0.4

    other.kill()

    assert acquire(path, "us", timeout=20) is not None
    assert time.monotonic() - start < 10


def test_who_waits_may_give_up(path, other):
    start = time.monotonic()

    assert acquire(path, "us", timeout=60, give_up=lambda: time.monotonic() > start + 0.3) is None
    assert time.monotonic() - start < 10


def test_release_unlocks_for_those_who_inherited_it_as_well(path):
    lock = acquire(path, "us")
    copy = os.dup(lock.descriptor)

    lock.release()

    assert acquire(path, "them") is not None
    os.close(copy)


def test_a_lock_that_cannot_be_signed_is_a_lock(path):
    path.parent.mkdir()
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 7))  # writing to it: the disk is full
        os.close(os.open(path, os.O_RDWR))
    except PermissionError:
        pytest.skip("only root may make a device that is always full")

    with acquire(path, "first"):
        assert acquire(path, "second") is None


def test_who_only_looks_whether_it_is_held_puts_nobody_off(path):
    with acquire(path, "before"):
        pass
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    Timer(0.1, os.close, [descriptor]).start()

    assert acquire(path, "us") is not None
