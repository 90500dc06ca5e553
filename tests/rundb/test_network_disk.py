"""SQLite on a network disk: found by the host's mounts, refused with the mend; runs go on."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_runs import a_run, row
from running import SLOT, end_of, supervisor

from maejobs.home import Home
from maejobs.rundb import network_disk
from maejobs.rundb.database import (
    DatabaseUnavailable,
    OnNetworkDisk,
    found_revision,
    open_database,
)
from maejobs.rundb.migrate import upgrade
from maejobs.rundb.network_disk import Mount, mount_of
from maejobs.rundb.record import write_run
from maejobs.watch.reconcile import reconcile

HOST = """\
/dev/sda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
tmpfs /tmp tmpfs rw 0 0
nas:/export/home /home nfs4 rw,vers=4.2 0 0
/dev/sdb1 /home/local ext4 rw 0 0
//win/share /mnt/two\\040words cifs rw 0 0
joe@far:/srv /mnt/far fuse.sshfs rw 0 0
portal /run/user/1000/doc fuse.portal rw 0 0
nas:/over /opt nfs rw 0 0
/dev/sdc1 /opt xfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "source", "is_network"),
    [
        ("/home/anna/maejobs/db/runs.db", "nas:/export/home", True),
        ("/home/local/runs.db", "/dev/sdb1", False),
        ("/homestead/runs.db", "/dev/sda1", False),
        ("/mnt/two words/runs.db", "//win/share", True),
        ("/mnt/far/runs.db", "joe@far:/srv", True),
        ("/run/user/1000/doc/runs.db", "portal", False),
        ("/opt/runs.db", "/dev/sdc1", False),
        ("/", "/dev/sda1", False),
    ],
)
def test_a_path_s_mount_is_the_deepest_and_of_several_the_last(path, source, is_network):
    mount = mount_of(PurePosixPath(path), HOST)
    assert (mount.source, mount.is_network) == (source, is_network)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "fuse.s3fs"])
def test_disks_that_other_hosts_write_to_are_known(kind):
    assert Mount("x", "/x", kind).is_network


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk"])
def test_disks_of_this_host_are_not_taken_for_such(kind):
    assert not Mount("x", "/x", kind).is_network


@settings(deadline=None)
@given(st.text(), st.lists(st.text(st.sampled_from("/ab .\\0"), min_size=1), max_size=4))
def test_any_text_has_a_mount_above_the_path_or_none(mounts, words):
    path = PurePosixPath("/", *words)
    found = mount_of(path, mounts)
    assert found is None or path.is_relative_to(found.place)


PARTS = st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1), max_size=3)


@settings(deadline=None)
@given(PARTS.filter(lambda parts: not {".", ".."} & set(parts)))
def test_a_mount_s_place_may_hold_any_character(parts):
    place = PurePosixPath("/", *parts)
    escaped = str(place).replace("\\", "\\134").replace(" ", "\\040")
    escaped = escaped.replace("\t", "\\011").replace("\n", "\\012")
    mount = mount_of(place / "runs.db", f"nas:/x {escaped} nfs rw 0 0\n")
    assert mount == Mount("nas:/x", str(place), "nfs")


@pytest.fixture
def networked(home: Home, monkeypatch, tmp_path) -> Home:
    """A home on what the host says is an NFS disk."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"nas:/export {home.root} nfs4 rw 0 0\n/dev/sda1 / ext4 rw 0 0\n")
    monkeypatch.setattr(network_disk, "MOUNTS", mounts)
    return home


@pytest.mark.sqlite("where its file lies; a server looks after its own")
def test_a_database_there_is_refused_with_the_mount_and_the_mend(networked):
    for attempt in (found_revision, upgrade):
        with pytest.raises(DatabaseUnavailable) as raised:
            attempt(networked)
        assert f"(nas:/export at {networked.root}, nfs4)" in str(raised.value)
        assert "database_url" in str(raised.value)
        assert "\n" not in str(raised.value)
    with pytest.raises(OnNetworkDisk), open_database(networked):
        pass


def test_a_link_to_such_a_disk_hides_nothing(networked, tmp_path):
    home = Home(tmp_path / "link")
    home.root.symlink_to(networked.root)
    with pytest.raises(OnNetworkDisk), open_database(home):
        pass
    elsewhere = Home(tmp_path / "elsewhere", configured_database_url=f"sqlite:///{home.root}/x.db")
    with pytest.raises(OnNetworkDisk), open_database(elsewhere):
        pass


def test_the_named_mend_serves(networked, tmp_path):
    url = f"sqlite:///{tmp_path}/local.db"
    home = Home(networked.root, networked.crontab, configured_database_url=url)
    upgrade(home)
    with open_database(home) as engine:
        assert write_run(engine, a_run())


def test_where_the_host_does_not_tell_its_mounts_nothing_is_refused(networked, monkeypatch):
    monkeypatch.setattr(network_disk, "MOUNTS", Path("/nowhere/mounts"))
    with open_database(networked) as engine:
        assert write_run(engine, a_run())


@pytest.mark.fault
@pytest.mark.sqlite("where its file lies; a server looks after its own")
def test_a_run_there_goes_on_and_is_taken_up_when_the_database_is_elsewhere(
    networked, write_job, monkeypatch
):
    write_job("quick", 'command = ["true"]\n')
    assert end_of(supervisor(networked, "quick")) == 0
    assert [path.suffix for path in networked.spool_dir.iterdir()] == [".json"]
    monkeypatch.setattr(network_disk, "MOUNTS", Path("/proc/self/mounts"))
    assert len(reconcile(networked).taken_up) == 1
    assert row(networked, "SELECT state, slot FROM runs") == {
        "state": "succeeded",
        "slot": SLOT.timestamp(),
    }
