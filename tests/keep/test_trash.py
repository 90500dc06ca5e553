"""Deleting by way of trash, and sweeping up after those who were killed while at it."""

import os
import time
from pathlib import Path

import pytest

from maejobs.clock import SHIFT_VARIABLE
from maejobs.errors import MaejobsError
from maejobs.keep.checkpoint import pin
from maejobs.keep.trash import erase, put_back, set_aside, sweep

from .campaigns import steps_in, write_campaign

DAY = 86_400


def make(path: Path, age: float = 0) -> Path:
    path.mkdir()
    (path / "file").write_bytes(b"x")
    for each in (path / "file", path):
        os.utime(each, (time.time() - age,) * 2)
    return path


def test_what_is_set_aside_can_be_put_back(tmp_path):
    trash = set_aside(make(tmp_path / "thing"))
    assert trash.name == ".trash-thing"
    assert not (tmp_path / "thing").exists()

    put_back(trash)
    assert (tmp_path / "thing" / "file").exists()


def test_older_trash_of_the_same_name_is_no_obstacle(tmp_path):
    set_aside(make(tmp_path / "thing"))
    set_aside(make(tmp_path / "thing"))

    assert [path.name for path in tmp_path.iterdir()] == [".trash-thing"]


def test_what_is_not_there_cannot_be_set_aside(tmp_path):
    with pytest.raises(MaejobsError, match="thing: cannot be deleted: No such file"):
        set_aside(tmp_path / "thing")


def test_erasing_deletes_links_and_never_what_they_lead_to(tmp_path):
    treasure = make(tmp_path / "treasure")
    thing = make(tmp_path / "thing")
    (thing / "link").symlink_to(treasure)
    (tmp_path / "alias").symlink_to(treasure)

    erase(thing)
    erase(tmp_path / "alias")

    assert [path.name for path in tmp_path.iterdir()] == ["treasure"]
    assert (treasure / "file").exists()


def test_trash_is_swept_at_once_and_temporaries_after_a_day(tmp_path):
    make(tmp_path / ".trash-step-000000001")
    make(tmp_path / ".tmp-step-000000002", age=2 * DAY)
    make(tmp_path / ".tmp-step-000000003", age=DAY / 2)
    make(tmp_path / "step-000000004", age=9 * DAY)

    assert sweep(tmp_path).names == [".tmp-step-000000002", ".trash-step-000000001"]
    assert {p.name for p in tmp_path.iterdir()} == {".tmp-step-000000003", "step-000000004"}


def test_a_temporary_still_written_to_is_not_old(tmp_path):
    temporary = make(tmp_path / ".tmp-step-000000001", age=2 * DAY)
    (temporary / "file").touch()

    assert sweep(tmp_path).names == []


def test_a_rehearsal_on_another_day_does_not_make_temporaries_old(tmp_path, monkeypatch):
    monkeypatch.setenv(SHIFT_VARIABLE, str(30 * DAY))
    make(tmp_path / ".tmp-step-000000001")

    assert sweep(tmp_path).names == []


def test_what_was_pinned_on_its_way_out_comes_back(tmp_path):
    campaign = write_campaign(tmp_path, 1)
    checkpoint = campaign / "checkpoints" / "step-000000001"
    pin(checkpoint)
    set_aside(checkpoint)

    assert sweep(campaign / "checkpoints").names == []
    assert steps_in(campaign) == [1]


def test_pinned_trash_whose_place_is_taken_is_swept(tmp_path):
    campaign = write_campaign(tmp_path, 1)
    checkpoint = campaign / "checkpoints" / "step-000000001"
    pin(checkpoint)
    set_aside(checkpoint)
    make(checkpoint)

    assert sweep(campaign / "checkpoints").names == [".trash-step-000000001"]
    assert (checkpoint / "file").exists()
