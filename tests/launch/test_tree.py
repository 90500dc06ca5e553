"""The processes of a command, wherever they went, and their end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import kill, lives, wait_for

from maejobs.launch import cgroup as cgroup_module
from maejobs.launch import tree as tree_module
from maejobs.launch.cgroup import Cgroup, make_cgroup, own_cgroup
from maejobs.launch.detached import start_detached
from maejobs.launch.local import start
from maejobs.launch.tree import Process, Tree, adopt_orphans, read_process, with_descendants

# In a session of its own, its parent gone, deaf to TERM; its pid in a file.
ESCAPED = "(setsid sh -c \"trap '' TERM; echo \\$\\$ > escaped; while :; do sleep 0.05; done\" &); "
# Each starts the next in a new session and ends, a thousand times at most.
RUNNER = "echo $$ >> runners; sleep 0.01; [ $1 = 0 ] || setsid -f sh runner.sh $(($1 - 1))\n"


@pytest.fixture(params=[True, False], ids=["cgroup", "walk"])
def with_cgroup(request, monkeypatch) -> bool:
    """Both ways, the first only where there is version 2 and we may write to it."""
    if not request.param:
        monkeypatch.setattr(tree_module, "make_cgroup", lambda: None)
    elif (cgroup := make_cgroup()) is None:
        pytest.skip("no cgroup of our own can be made here")
    else:
        cgroup.dissolve()
    return request.param


@pytest.fixture
def command(tmp_path: Path):
    """`command(script)` starts it with the variable MARK; whatever it starts is killed at last."""
    children = []

    def run(script: str, mark: str = "here") -> subprocess.Popen[bytes]:
        environment = {"PATH": os.environ["PATH"], "MARK": mark}
        children.append(start(["sh", "-c", script], environment, tmp_path, tmp_path / "log"))
        return children[-1]

    yield run
    for child in children:
        last = Tree(child.pid)
        last.kill()
        last.close()
        child.wait()


def number_in(path: Path) -> int:
    return int(wait_for(lambda: path.exists() and path.read_text().strip()))


def test_who_changed_session_and_lost_its_parent_is_a_member_and_is_killed(
    command, tmp_path, with_cgroup
):
    child = command(ESCAPED + "sleep 60")
    tree = Tree(child.pid)
    escaped = number_in(tmp_path / "escaped")
    assert os.getsid(escaped) == escaped

    assert {child.pid, escaped} <= tree.members()
    tree.kill()

    assert not lives(escaped)
    assert tree.members() == set()
    tree.close()


def test_who_flees_from_session_to_session_is_caught(command, tmp_path, with_cgroup):
    (tmp_path / "runner.sh").write_text(RUNNER)
    child = command("sh runner.sh 1000; sleep 60")
    wait_for(lambda: (tmp_path / "runners").exists())  # it runs before it is in any cgroup
    tree = Tree(child.pid)
    wait_for(lambda: len((tmp_path / "runners").read_text().split()) > 3)

    tree.kill()

    so_far = (tmp_path / "runners").read_text()
    with pytest.raises(AssertionError, match="in vain"):
        wait_for(lambda: (tmp_path / "runners").read_text() != so_far, seconds=0.5)
    tree.close()


def test_what_an_earlier_command_left_behind_is_not_of_the_next(command, tmp_path, with_cgroup):
    first = command(ESCAPED, mark="first")
    first.wait()
    escaped = number_in(tmp_path / "escaped")
    (tmp_path / "escaped").unlink()
    second = command(ESCAPED + "sleep 60", mark="second")
    tree = Tree(second.pid, "MARK=second")
    other = number_in(tmp_path / "escaped")

    assert tree.members() >= {second.pid, other}
    tree.kill()

    assert lives(escaped)
    assert not lives(other)
    tree.close()
    kill(escaped, signal.SIGKILL)


def test_an_orphan_of_another_command_is_known_by_its_mark(command, tmp_path):
    child = command("sleep 60", mark="second")
    tree = Tree(child.pid, "MARK=second")
    later = command(ESCAPED + "sleep 60", mark="first")
    escaped = number_in(tmp_path / "escaped")

    assert escaped not in tree.members()
    assert later.pid not in tree.members()
    assert escaped in Tree(child.pid).members()
    tree.close()


def test_our_own_helpers_are_not_killed_with_the_command(command):
    child = command("sleep 60")
    with subprocess.Popen(["sleep", "60"]) as helper:
        tree = Tree(child.pid)
        tree.kill()
        tree.reap()

        assert helper.poll() is None
        helper.kill()
        tree.reap()
        assert helper.wait() == -signal.SIGKILL
    tree.close()


def test_what_we_start_apart_is_none_of_the_commands_processes(command, monkeypatch, tmp_path):
    child = command("exec sleep 60")
    tree = Tree(child.pid, "MAEJOBS_RUN_ID=night-1")
    program = tmp_path / "idle"  # takes any words
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    sender = start_detached(["notify", "send"])
    try:
        wait_for(lambda: tree.members() == {child.pid})  # between fork and exec it is a copy of us
        assert lives(sender)
    finally:
        kill(sender, signal.SIGKILL)
        os.waitpid(sender, 0)
        tree.close()


@pytest.mark.parametrize("has_lists", [True, False])  # of children, which a kernel may lack
def test_orphans_that_ended_are_buried(command, tmp_path, monkeypatch, has_lists):
    if not has_lists:
        monkeypatch.setattr(tree_module, "_children", lambda pid=None: [])
    child = command("(setsid sh -c 'echo $$ > orphan' &); exec sleep 60")
    tree = Tree(child.pid)
    orphan = number_in(tmp_path / "orphan")
    wait_for(lambda: not lives(orphan))
    assert read_process(orphan).dead

    wait_for(lambda: tree.reap() or read_process(orphan) is None)

    assert child.poll() is None
    tree.close()


def test_strays_are_told_once_and_the_group_is_not_told_again(command, tmp_path):
    heard = "trap 'echo $0 >> heard' TERM; echo $$ >> ready; while :; do sleep 0.05; done"
    (tmp_path / "heard.sh").write_text(heard)
    child = command("setsid sh heard.sh & sh heard.sh & wait")
    tree = Tree(child.pid)
    wait_for(lambda: (tmp_path / "ready").exists())
    wait_for(lambda: len((tmp_path / "ready").read_text().split()) == 2)

    tree.tell_strays()
    wait_for(lambda: (tmp_path / "heard").exists())
    tree.tell_strays()

    with pytest.raises(AssertionError, match="in vain"):
        wait_for(lambda: (tmp_path / "heard").read_text() != "heard.sh\n", seconds=0.5)
    tree.kill()
    tree.close()


def test_a_cgroup_is_dissolved_and_who_lives_in_it_goes_on_in_ours(command):
    cgroup = make_cgroup()
    if cgroup is None:
        pytest.skip("no cgroup of our own can be made here")
    cgroup.dissolve()
    child = command("exec sleep 60")
    tree = Tree(child.pid)
    assert Cgroup(cgroup.path).members() == [child.pid]

    tree.close()

    assert not cgroup.path.exists()
    assert child.pid in Cgroup(cgroup.path.parent).members()
    assert child.poll() is None


def test_once_it_is_closed_orphans_are_the_hosts_again(command):
    tree = Tree(command("exec sleep 60").pid)
    tree.close()
    script = "sleep 60 > /dev/null & echo $!"
    orphan = int(subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, check=True).stdout)
    try:
        assert read_process(orphan).parent != os.getpid()
    finally:
        kill(orphan, signal.SIGKILL)


def test_the_cgroup_of_a_supervisor_that_was_killed_is_swept_up():
    cgroup = make_cgroup()
    if cgroup is None:
        pytest.skip("no cgroup of our own can be made here")
    with subprocess.Popen(["true"]) as gone:
        pass
    left_behind = cgroup.path.parent / f"maejobs-{gone.pid}"
    cgroup.dissolve()
    left_behind.mkdir()

    make_cgroup().dissolve()

    assert not left_behind.exists()


@pytest.mark.parametrize(
    ("mounts", "membership", "path"),
    [
        ("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0", "0::/a/b", "/sys/fs/cgroup/a/b"),
        ("x /c/cpu cgroup rw 0 0\ny /c/u cgroup2 rw 0 0", "1:cpu:/a\n0::/", "/c/u"),
        ("x /c/cpu cgroup rw 0 0", "1:cpu:/a\n0::/", None),
        ("y /c/u cgroup2 rw 0 0", "1:cpu:/a", None),
        ("", "", None),
    ],
)
def test_our_own_cgroup_is_where_version_2_is_mounted(mounts, membership, path):
    assert own_cgroup(mounts, membership) == (path and Path(path))


@pytest.mark.parametrize("content", [b"/dev/sdb1 /media/B\xfccher vfat rw 0 0\n", None])
def test_no_table_of_mounts_costs_more_than_the_cgroup(tmp_path, monkeypatch, content):
    monkeypatch.setattr(cgroup_module, "MOUNTS", tmp_path / "mounts")
    if content:
        (tmp_path / "mounts").write_bytes(content)
    assert make_cgroup() is None


def test_a_process_may_be_called_anything(tmp_path):
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"], start_new_session=True) as process:
        found = read_process(process.pid)
        process.kill()

    assert found[:3] == (os.getpid(), process.pid, process.pid)
    assert read_process(process.pid) is None


@given(st.dictionaries(st.integers(2, 30), st.integers(0, 30)), st.sets(st.integers(2, 30)))
def test_descendants_are_the_roots_and_whoever_has_a_parent_among_them(parents, roots):
    processes = {pid: Process(parent, 0, 0, 0, False) for pid, parent in parents.items()}

    found = with_descendants(roots, processes)

    assert roots <= found
    for pid, parent in parents.items():
        assert pid in found or parent not in found
    for pid in found - roots:
        assert parents[pid] in found


def test_whose_orphans_are_not_adopted_any_more_go_to_the_hosts_first_process(tmp_path):
    adopt_orphans()
    adopt_orphans(False)
    subprocess.run(["sh", "-c", "(setsid sleep 0.6 & echo $! > orphan)"], cwd=tmp_path, check=True)

    assert read_process(number_in(tmp_path / "orphan")).parent != os.getpid()
