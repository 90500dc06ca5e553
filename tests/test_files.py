"""Files that are whole or not there, and private."""

import hashlib
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs import files
from maejobs.files import (
    make_private_directory,
    remove_leftovers,
    sha256_of,
    write_atomically,
)

KILLED_WRITE = """
import os, signal, sys
from pathlib import Path
from maejobs import files
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
setattr(os, "fsync", die) if sys.argv[2] == "fsync" else setattr(Path, "replace", die)
files.write_atomically(Path(sys.argv[1]), b"new" * 1_000_000)
"""


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directories_are_private_and_so_are_the_missing_ones_above(tmp_path, open_umask):
    tmp_path.chmod(0o755)
    made = make_private_directory(tmp_path / "a" / "b" / "c")
    assert made == tmp_path / "a" / "b" / "c"
    assert [mode_of(path) for path in (made, made.parent, tmp_path / "a")] == [0o700] * 3
    assert mode_of(tmp_path) == 0o755


def test_a_directory_that_exists_is_left_as_it_is(tmp_path):
    tmp_path.chmod(0o750)
    make_private_directory(tmp_path)
    assert mode_of(tmp_path) == 0o750


def test_a_file_is_written_whole_and_private(tmp_path, open_umask):
    write_atomically(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert mode_of(tmp_path / "file") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_another_mode_can_be_asked_for(tmp_path, open_umask):
    write_atomically(tmp_path / "file", b"", mode=0o644)
    assert mode_of(tmp_path / "file") == 0o644


def test_a_link_planted_under_the_temporary_name_leads_nowhere(tmp_path):
    treasure = tmp_path / "treasure"
    treasure.write_bytes(b"mine")
    (tmp_path / f".file.{os.getpid()}.tmp").symlink_to(treasure)

    write_atomically(tmp_path / "file", b"new")

    assert treasure.read_bytes() == b"mine"
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.fault
@pytest.mark.parametrize("point", ["fsync", "rename"])
def test_a_kill_while_writing_leaves_the_old_file(tmp_path, point):
    file = tmp_path / "file"
    write_atomically(file, b"old")
    script = [sys.executable, "-c", KILLED_WRITE, str(file), point]
    assert subprocess.run(script, timeout=60, check=False).returncode == -signal.SIGKILL
    assert file.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [file]
    write_atomically(file, b"newer")
    assert file.read_bytes() == b"newer"


def test_what_is_being_written_and_what_is_not_ours_are_no_leftovers(tmp_path):
    kept = {tmp_path / f".file.{os.getpid()}.tmp", tmp_path / ".x.tmp", tmp_path / ".tmp"}
    for path in kept:
        path.touch()
    remove_leftovers(tmp_path)
    assert set(tmp_path.iterdir()) == kept


@pytest.mark.fault
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_atomically(tmp_path / "file", b"old")

    def fail(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_name_itself_is_made_to_last(tmp_path, monkeypatch):
    synced = []
    real = os.fsync

    def note(descriptor):
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", note)
    write_atomically(tmp_path / "file", b"new")
    assert synced == [False, True]


@given(st.binary(max_size=10_000))
def test_the_hash_is_that_of_the_bytes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "hashed"
    path.write_bytes(content)
    assert sha256_of(path) == hashlib.sha256(content).hexdigest()
