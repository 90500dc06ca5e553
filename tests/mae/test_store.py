"""Reading a packed store: checked when opened, and batches that depend on their step alone."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from matplotlib import cbook
from PIL import Image
from tiny import batches_of

from mae.build import view_of
from mae.cli import main
from mae.data import ahead
from mae.data.course import course_of
from mae.data.loader import plain_batches, training_batches
from mae.data.sources import Arrays, Splits, open_source
from mae.data.store import FIELDS, Packed
from mae.errors import BadInput
from mae.files import sha256_of

CPU = torch.device("cpu")


def mae(*arguments: object):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Forty cuts of a real photograph, of different shapes, in two classes."""
    root = tmp_path / "photos"
    with cbook.get_sample_data("grace_hopper.jpg") as file, Image.open(file) as image:
        for n in range(40):
            path = root / f"class-{n % 2}" / f"{n:02d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            width, height = 120 + 5 * n, 200 - 2 * n
            image.crop((4 * n, 9 * n, 4 * n + width, 9 * n + height)).save(path, quality=92)
    return root


@pytest.fixture
def store(photos: Path, tmp_path: Path) -> Path:
    assert mae("pack", photos, "--output", tmp_path / "store", "--size", "96").exit_code == 0
    return tmp_path / "store"


def with_model(tiny, **values):
    return tiny.model_copy(update={"model": tiny.model.model_copy(update=values)})


def in_colour(tiny):
    view = view_of(with_model(tiny, channels=3, image_size=64))
    return view.__class__(**{**vars(view), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.3)})


def test_images_of_any_shape_give_the_same_batches_whatever_the_workers(store, tiny):
    images, view = open_source(str(store)).train, in_colour(tiny)
    assert isinstance(images, Packed)
    assert images.shape is None
    everything = list(batches_of(images, view, 0, 8, range(12), 0))
    resumed = list(batches_of(images, view, 0, 8, range(5, 12), 2))
    for whole, part in zip(everything[5:], resumed, strict=True):
        assert whole.epoch == part.epoch
        np.testing.assert_array_equal(whole.samples, part.samples)
        assert torch.equal(whole.imgs, part.imgs)
    assert not torch.equal(everything[0].imgs, everything[-1].imgs)


@pytest.mark.parametrize(("size", "most"), [(4, 2), (16, 4)])  # two batches, or two a thread
def test_a_batch_is_cut_in_pieces_and_no_more_than_two_are_begun(
    store, tiny, monkeypatch, size, most
):
    images, view = open_source(str(store)).train, in_colour(tiny)
    course, begun = course_of(images, 16), 0
    whole = [batch.imgs for batch in batches_of(images, view, 0, 16, range(12))]

    def steps() -> Iterator[int]:
        nonlocal begun
        for begun in range(1, 13):
            yield begun - 1

    monkeypatch.setattr(ahead, "SIZE", size)
    batches = training_batches(images, view, 0, course, steps(), CPU, 2)
    for taken, batch in enumerate(batches, start=1):
        assert begun - taken == min(most, 12 - taken)
        assert torch.equal(batch.imgs, whole[taken - 1])


def test_a_store_shows_the_crops_and_flips_that_the_folder_shows(photos, store, tiny):
    """Both know a sample by its number, so both draw the same; only the pixels are fewer."""
    view = in_colour(tiny)
    batches = (
        list(batches_of(open_source(str(source)).train, view, 0, 8, range(4), 0))
        for source in (photos, store)
    )
    for ours, theirs in zip(*batches, strict=True):
        np.testing.assert_array_equal(ours.samples, theirs.samples)
        off = (view.restore(ours.imgs) - view.restore(theirs.imgs)).abs().mean()
        assert off < 6, "a mirrored or shifted crop is tens of levels off"


def test_small_images_are_the_same_from_a_store_and_from_idx_files(tmp_path, tiny, sample):
    assert mae("pack", "sample", "--output", tmp_path / "store").exit_code == 0
    packed, view = open_source(str(tmp_path / "store")).train, view_of(tiny)
    assert packed.small
    for ours, theirs in (
        *zip(
            batches_of(packed, view, 3, 16, range(4), 2),
            batches_of(sample, view, 3, 16, range(4), 0),
            strict=True,
        ),
        *zip(
            plain_batches(packed, view, 500, CPU, 0),
            plain_batches(sample, view, 500, CPU, 0),
            strict=True,
        ),
    ):
        np.testing.assert_array_equal(ours.samples, theirs.samples)
        assert torch.equal(ours.imgs, theirs.imgs)


def test_crops_of_a_store_agree_with_pillow_within_two_grey_levels(store, tiny):
    images, view = open_source(str(store)).held_out, in_colour(tiny)
    (batch,) = plain_batches(images, view, len(images), CPU, 0)
    pixels = view.restore(batch.imgs).round().numpy()
    for n in range(len(images)):
        image = Image.fromarray(np.ascontiguousarray(images.image(n)))
        side, (width, height) = min(image.size), image.size
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        wanted = np.asarray(image.resize((64, 64), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
        assert np.abs(pixels[n] - wanted).max() <= 2


def test_grey_stores_fit_networks_of_colour_but_not_the_other_way(photos, store, tiny, tmp_path):
    grey = tmp_path / "grey"
    assert mae("pack", photos, "--output", grey, "--channels", "1").exit_code == 0
    batch = next(plain_batches(open_source(str(grey)).train, in_colour(tiny), 4, CPU, 0))
    assert batch.imgs.shape == (4, 3, 64, 64)
    with pytest.raises(BadInput, match=r"model\.channels is 1, but the images have 3"):
        next(plain_batches(open_source(str(store)).train, view_of(tiny), 4, CPU, 0))


def test_campaigns_learn_from_stores_and_are_evaluated_on_them(tmp_path):
    assert mae("pack", "sample", "--output", tmp_path / "store").exit_code == 0
    settings = ["--set", "model.width=16", "--set", "model.depth=1", "--set", "model.heads=2"]
    root = tmp_path / "campaign"
    done = mae(
        "pretrain", "--config", "fashion-tiny", "--data", tmp_path / "store", "--steps", "2",
        "--output", root, *settings,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert mae("evaluate", root).exit_code == 0
    assert "linear_top1" in (root / "evaluations" / "step-000000002.json").read_text()


def test_without_labels_there_are_none(photos, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in photos.rglob("*.jpg"):
        path.rename(flat / path.name)
    assert mae("pack", flat, "--output", tmp_path / "store").exit_code == 0
    splits: Splits = open_source(str(tmp_path / "store"))
    assert splits.train.labels is None
    assert splits.classes == ()


def test_a_sound_store_is_verified(store):
    done = mae("pack", "--verify", store)
    assert (done.exit_code, done.stdout) == (0, f"{store}: sound\n")


def test_one_changed_byte_is_found_and_its_images_are_named(store):
    with (store / "pixels.bin").open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    done = mae("pack", "--verify", store)
    assert done.exit_code == 1
    assert "chunk 0 (images 0 to 39): damaged" in done.stderr
    assert json.loads(mae("pack", "--verify", store, "--json").stdout)["sound"] is False


def test_a_store_that_was_cut_is_refused_and_told_by_verify(store):
    pixels = store / "pixels.bin"
    pixels.write_bytes(pixels.read_bytes()[:-1])
    with pytest.raises(BadInput, match=r"pixels.bin: \d+ bytes, not \d+; pack it again"):
        open_source(str(store))
    done = mae("pack", "--verify", store)
    assert done.exit_code == 1
    assert "cut short" in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("index.npy", b"", "index.npy: damaged"),
        ("manifest.json", b"{", "not the manifest of a packed store"),
        ("manifest.json", b'{"kind": "mae packed store", "format": 2}', "format 2 of"),
    ],
)
def test_a_damaged_store_is_named(store, name, content, complaint):
    (store / name).write_bytes(content)
    with pytest.raises(BadInput, match=complaint) as caught:
        open_source(str(store))
    assert str(store) in str(caught.value)
    assert mae("pack", "--verify", store).exit_code == 2


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        *(({key: None}, f"{key} is missing") for key in (*FIELDS,)),
        ({"train": "30"}, 'train is "30"'),
        ({"train": True}, "train is true"),
        ({"train": 0, "held_out": 40}, "train is 0"),
        ({"train": 7}, "train [+] held_out are [0-9]+ images, but its chunks have 40"),
        ({"channels": 1}, "1 channels and the sizes in index.npy do not make [0-9]+ bytes"),
        ({"channels": 4}, "channels is 4"),
        ({"shape": [96, 96]}, "shape is .96, 96., but not of all images"),
        ({"shape": 96}, "shape is 96"),
        ({"classes": ["one"]}, "classes are 1, but labels go up to 1"),
        ({"classes": 2}, "classes is 2"),
        ({"bytes": 12}, "bytes is 12, but its chunks have"),
        ({"chunks": [{"images": 40}]}, "chunks is"),
        ({"index": []}, "index is"),
    ],
    ids=str,
)
def test_a_manifest_that_says_what_cannot_be_is_named(store, tmp_path, change, complaint):
    path = store / "manifest.json"
    manifest = {**json.loads(path.read_text()), **change}
    if complaint.endswith(" is missing"):
        manifest = {k: v for k, v in manifest.items() if k not in change}
    path.write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match=f"manifest.json: damaged: {complaint}.*; pack it again"):
        open_source(str(store))
    done = mae("pack", "--verify", store)
    assert (done.exit_code, done.stderr.count("\n"), done.stdout) == (2, 1, "")


def test_another_stores_index_is_not_taken_for_this_ones(store):
    """Its checksum may be right, and its offsets beyond the pixels."""
    index = np.load(store / "index.npy")
    index[3, 0] += 1
    np.save(store / "index.npy", index)
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["index"]["sha256"] = sha256_of(store / "index.npy")
    (store / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match="one image after another"):
        open_source(str(store))


def test_arrays_know_their_shape(sample):
    assert isinstance(sample, Arrays)
    assert (sample.channels, sample.shape) == (1, (28, 28))
