"""Folders of images: what is a split and what a class, and which files are images."""

import os
import shutil
import socket
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forked import run
from test_resume import changed, night

from mae.data.folders import is_held_out
from mae.data.listing import list_source
from mae.data.sources import open_source
from mae.errors import BadInput

CLASSES = tuple(f"class-{n}" for n in range(10))


def below(folder: Path, name: str) -> Path:
    """The folder's classes, moved into a folder of that name in it."""
    inside = folder / name
    inside.mkdir()
    for path in folder.glob("class-*"):
        path.rename(inside / path.name)
    return inside


def hold_out(folder: Path, name: str, images: int = 1) -> None:
    """Some images of each class in train/, moved into a folder of that name."""
    for path in sorted((folder / "train").iterdir()):
        (folder / name / path.name).mkdir(parents=True)
        for image in sorted(path.iterdir())[:images]:
            image.rename(folder / name / path.name / image.name)


def test_a_train_folder_alone_is_a_split_and_no_class(folder):
    train = below(folder, "train")
    splits = open_source(str(folder))
    assert splits.classes == CLASSES
    assert len(splits.train) + len(splits.held_out) == 120
    assert len(splits.held_out) > 0
    for images in (splits.train, splits.held_out):
        assert [splits.classes[n] for n in images.labels] == [p.parent.name for p in images.paths]
    paths = sorted(train.rglob("*.*"))
    held_out = [path for path in paths if is_held_out(path.relative_to(folder))]
    assert list(splits.held_out.paths) == held_out, "those of campaigns that began before"


def test_images_that_lie_flat_in_a_train_folder_have_no_class(folder):
    train = below(folder, "train")
    for path in sorted(train.rglob("*.*")):
        path.rename(train / path.name)
    for path in train.glob("class-*"):
        path.rmdir()
    splits = open_source(str(folder))
    assert (splits.train.labels, splits.held_out.labels, splits.classes) == (None, None, ())


@pytest.mark.parametrize("name", ["val", "valid", "test", "validation"])
def test_a_held_out_folder_has_any_of_four_names(folder, name):
    below(folder, "train")
    hold_out(folder, name)
    splits = open_source(str(folder))
    assert (len(splits.train), len(splits.held_out), splits.classes) == (110, 10, CLASSES)


def test_of_several_held_out_folders_the_first_documented_one_is_taken(folder):
    below(folder, "train")
    for name in ("validation", "test", "valid", "val"):
        hold_out(folder, name)
        (first, *_) = open_source(str(folder)).held_out.paths
        assert first.is_relative_to(folder / name)
    docs = (Path(__file__).parents[2] / "docs" / "mae.md").read_text()
    assert "`val/`, `valid/`, `test/` or `validation/`, the first of these" in docs


def test_a_class_may_be_called_train(folder):
    (folder / "class-3").rename(folder / "train")
    assert open_source(str(folder)).classes == (*CLASSES[:3], *CLASSES[4:], "train")


def test_a_train_folder_beside_one_of_an_unknown_name_is_refused(folder):
    below(folder, "train")
    hold_out(folder, "dev")
    with pytest.raises(BadInput, match=r"so has dev/ beside it: name .*/train, or call the one"):
        open_source(str(folder))


def test_a_store_of_train_as_a_class_is_of_another_source(folder):
    below(folder, "train")
    listing = list_source(str(folder))
    before = replace(listing, classes=("train",), labels=[0] * len(listing))
    assert before.names == listing.names
    assert before.sha256 != listing.sha256, "so that it is not taken for packed already"


@pytest.mark.parametrize("first", ["aaa", "class-5a", "zzz"])
def test_folders_without_images_are_no_classes(folder, first):
    before = open_source(str(folder))
    (folder / first / "in it").mkdir(parents=True)
    (folder / first / "pixels.bin").write_bytes(b"a store, say")
    after = open_source(str(folder))
    assert after.classes == before.classes == CLASSES
    np.testing.assert_array_equal(after.train.labels, before.train.labels)


def test_only_files_and_links_to_files_are_images(folder):
    before = open_source(str(folder))
    place = folder / "class-3"
    os.mkfifo(place / "aa.jpg")
    (place / "ab.jpg").symlink_to("aa.jpg")
    (place / "ac.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(place / "ad.jpg"))
    image = before.train.paths[0]
    link = next(n for n in range(99) if not is_held_out(Path(f"class-3/{n}.png")))
    (place / f"{link}.png").symlink_to(image)
    found = set(open_source(str(folder)).train.paths) - set(before.train.paths)
    assert found == {place / f"{link}.png"}
    assert list_source(str(folder)).names[: len(before.train)]


def test_what_may_surprise_in_a_folder_is_told_before_it_is_learnt_from(
    folder, tmp_path, tiny, capsys
):
    assert open_source(str(folder)).notes == ()
    for name in ("class-0/a.webp", "class-1/b.TIF", "class-1/.c.gif", "class-2/notes.txt"):
        (folder / name).touch()
    stray = folder / "cover.jpg"
    shutil.copyfile(next(folder.glob("class-3/*")), stray)
    told = open_source(str(folder)).notes
    assert told == (
        f"{folder}: .tif, .webp files are left out; make them JPEG or PNG first",
        f"{stray}: beside folders of classes, so that there are no labels; put it into one",
    )
    command = [sys.executable, "-m", "mae", "pack", folder, "--output", tmp_path / "s", "--dry-run"]
    assert run(command).stderr == "".join(f"mae: {text}\n" for text in told)

    from_folder = changed(tiny, "data", source=str(folder))
    for first in (True, False):
        night(tmp_path / "c", from_folder, until=1)
        assert all((text in capsys.readouterr().err) == first for text in told[:1])
