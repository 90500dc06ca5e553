"""The place where a table lies while it is edited, and what is left there by who was killed."""

import os
import tempfile
from pathlib import Path

import pytest

from maejobs.cron.desk import rescue_broken_off, set_desk
from maejobs.cron.editor import Decision, edit_table
from maejobs.cron.file_target import FileTarget
from maejobs.errors import UserError

OLD, NEW = b"0 5 * * 1 tar\n", b"0 6 * * 1 tar\n"


@pytest.fixture(autouse=True)
def desks(tmp_path, monkeypatch):
    """Where desks are set."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
def target(tmp_path):
    (tmp_path / "tab").write_bytes(OLD)
    return FileTarget(tmp_path / "tab")


@pytest.fixture
def rescued(target, tmp_path):
    return lambda: rescue_broken_off(target, OLD, tmp_path / "backups")


def killed_after(act) -> None:
    """Another process acts, and is killed."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    try:
        act()
    finally:
        os._exit(9)


def test_what_was_written_before_a_kill_is_kept_among_the_backups_and_told_once(
    target, rescued, desks
):
    killed_after(lambda: set_desk(target, OLD).file.write_bytes(NEW))
    (kept,) = rescued()
    assert (kept.suffix, kept.read_bytes()) == (".edited", NEW)
    assert list(desks.iterdir()) == []
    assert rescued() == []


def test_a_copy_in_which_nothing_was_changed_goes_without_a_word(target, rescued, desks):
    killed_after(lambda: set_desk(target, OLD))
    assert len(list(desks.iterdir())) == 1
    assert rescued() == []
    assert list(desks.iterdir()) == []


def test_an_edit_that_goes_on_and_one_of_another_table_are_let_be(target, rescued, tmp_path):
    desk = set_desk(target, OLD)
    desk.file.write_bytes(NEW)
    killed_after(lambda: set_desk(FileTarget(tmp_path / "other"), NEW))
    assert rescued() == []
    assert desk.file.read_bytes() == NEW
    desk.clear()
    assert not desk.file.parent.exists()


def test_what_others_may_have_put_there_is_not_looked_at(target, rescued, desks, tmp_path):
    made = [f"maejobs-edit-{target.slug}-{name}" for name in ("open", "link", "file")]
    (desks / made[0]).mkdir(mode=0o755)
    (desks / made[0] / "crontab").write_bytes(NEW)
    (desks / made[1]).symlink_to(tmp_path)
    (desks / made[2]).write_bytes(NEW)
    assert rescued() == []
    assert {path.name for path in desks.iterdir()} == set(made)


def test_a_place_that_cannot_be_listed_keeps_nobody_from_editing(rescued, desks):
    desks.rmdir()
    assert rescued() == []


def test_what_an_editor_saves_in_an_emergency_is_named_and_stays(target, rescued, desks, tmp_path):
    def dying(file: Path) -> None:
        file.with_name(".crontab.swp").write_bytes(b"unsaved")
        raise UserError("vim: Editing failed")

    with pytest.raises(UserError) as caught:
        edit_table(
            target, dying, lambda _: False, lambda *_: Decision.INSTALL, tmp_path / "backups"
        )
    (desk,) = desks.iterdir()
    assert caught.value.__notes__[0].endswith(f"your text is in {desk}")
    assert (desk / ".crontab.swp").read_bytes() == b"unsaved"
    assert rescued() == [desk] == rescued()
