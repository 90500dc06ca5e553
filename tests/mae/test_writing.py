"""Files on disks that do less than others: what can be done there is done, the rest is named."""

import errno
import fcntl
import os
import shutil
import stat
from pathlib import Path

import pytest
from test_checkpoint import write

from mae.files import held, sync, write_atomically
from mae.train import checkpoint as checkpoints


def refuse(monkeypatch, number: int, directories: bool) -> None:
    """Have fsync fail, of directories or of files."""
    fsync = os.fsync

    def refused(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == directories:
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refused)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_that_syncs_no_directory_takes_checkpoints(tmp_path, monkeypatch, number):
    refuse(monkeypatch, number, directories=True)
    saved = write(tmp_path, 20)
    assert checkpoints.newest_valid(tmp_path, pytest.fail) == saved
    write_atomically(tmp_path / "config.toml", b"x")


@pytest.mark.parametrize(("number", "directories"), [(errno.EIO, True), (errno.EINVAL, False)])
def test_a_disk_that_refuses_to_sync_is_named(tmp_path, monkeypatch, number, directories):
    path = tmp_path if directories else tmp_path / "file"
    (tmp_path / "file").touch()
    refuse(monkeypatch, number, directories)
    with pytest.raises(OSError, match=os.strerror(number)) as told:
        sync(path)
    assert told.value.filename == str(path)


def test_a_disk_without_locks_is_named(tmp_path, monkeypatch):
    def refused(_file, _how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(OSError, match="No locks available") as told, held(tmp_path / ".lock"):
        pytest.fail("nobody may have it")
    assert told.value.filename == str(tmp_path / ".lock")


def test_what_a_disk_does_not_take_away_is_written_over(tmp_path, monkeypatch):
    """NFS keeps a file, under another name, that a process which does not end has open."""
    left: Path = tmp_path / ".tmp-step-000000020" / ".nfs0001"
    left.parent.mkdir()
    left.touch()
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    assert write(tmp_path, 20) == checkpoints.newest_valid(tmp_path, pytest.fail)
