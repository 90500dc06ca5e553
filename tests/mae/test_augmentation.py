"""Augmentation by timm: functions of seed, epoch, sample and step; grey or colour."""

import random

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from mae.build import view_of
from mae.cli import main
from mae.config_file import read_config
from mae.data.course import course_of
from mae.data.loader import plain_batches, training_batches
from mae.data.sources import open_source
from mae.evaluate.augmentation import RandAugment, all_seeded, erased_and_mixed
from mae.recipes import Augmentation

CPU = torch.device("cpu")


@pytest.fixture
def augment(tiny) -> RandAugment:
    return RandAugment(0, 9, 0.5, view_of(tiny))


def test_an_images_augmentation_depends_on_itself_and_the_epoch_alone(augment, sample):
    images = [torch.from_numpy(sample.pixels[n].copy()) for n in range(20)]
    first = [augment(3, n, image) for n, image in enumerate(images)]
    random.seed(5)
    again = [augment(3, n, images[n]) for n in reversed(range(20))][::-1]
    assert all(map(torch.equal, first, again))
    other = [augment(4, n, image) for n, image in enumerate(images)]
    assert sum(map(torch.equal, first, other)) < 10
    changed = sum(not torch.equal(a, b) for a, b in zip(first, images, strict=True))
    assert 8 <= changed <= 20  # each of two operations is done by half


def test_others_generators_are_as_they_were(augment, sample):
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    augment(0, 0, torch.from_numpy(sample.pixels[0].copy()))
    with all_seeded(7, CPU):
        torch.rand(3)
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected


@pytest.mark.parametrize("channels", [1, 3])
def test_every_operation_takes_grey_and_colour(tiny, sample, channels):
    data = tiny.data.model_copy(update={"mean": (0.3,) * channels, "std": (0.3,) * channels})
    model = tiny.model.model_copy(update={"channels": channels})
    view = view_of(tiny.model_copy(update={"data": data, "model": model}))
    augment = RandAugment(0, 10, 0.5, view)
    image = torch.from_numpy(sample.pixels[7].copy()).repeat(channels, 1, 1)
    # timm's own list; each is applied 150 times or so.
    seen = {augment(0, n, image).numpy().tobytes() for n in range(4000)}
    assert len(seen) > 800
    assert augment(0, 1, image).shape == image.shape


def test_workers_and_devices_augment_alike(tiny, folder, tmp_path):
    view, splits = view_of(tiny), open_source(str(folder))
    augment, course = RandAugment(0, 9, 0.5, view), course_of(splits.train, 16)

    def batches(workers, parts=1):
        told = training_batches(
            splits.train, view, 0, course, range(3, 7), CPU, workers, parts=parts, augment=augment
        )
        return torch.cat([batch.imgs for batch in told])

    alone = batches(0)
    assert torch.equal(alone, batches(2))
    assert torch.equal(alone, batches(2, parts=4))
    bare = training_batches(splits.train, view, 0, course, range(3, 7), CPU, 0)
    assert not torch.equal(alone, torch.cat([batch.imgs for batch in bare]))


def test_packed_stores_are_augmented_alike_by_any_number_of_threads(tiny, sample, tmp_path):
    for index in range(40):
        image = Image.fromarray(sample.pixels[index, 0].copy()).resize((64, 56))
        name = tmp_path / "images" / f"class-{sample.labels[index]}" / f"{index}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        image.save(name)
    store = tmp_path / "store"
    command = ["pack", str(tmp_path / "images"), "--output", str(store), "--channels", "1"]
    assert CliRunner().invoke(main, [*command, "--workers", "0"]).exit_code == 0
    view, images = view_of(tiny), open_source(str(store)).train
    assert not images.small
    augment, course = RandAugment(0, 9, 0.5, view), course_of(images, 16)
    alone, threads = (
        [b.imgs for b in training_batches(
            images, view, 0, course, range(6), CPU, workers, parts=2, augment=augment
        )]
        for workers in (0, 2)
    )  # fmt: skip
    assert len(alone) == 12
    assert all(map(torch.equal, alone, threads))


def test_mixing_shares_images_and_labels_alike():
    imgs, labels = torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 2, 2])
    imgs[:2] = 1.0  # an image's mean tells how much of the first two is in it
    for recipe in (Augmentation(mixup=0.8), Augmentation(cutmix=1.0)):
        with all_seeded(3, CPU):
            mixed, targets = erased_and_mixed(imgs.clone(), labels, recipe, 3)
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(4))
        torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), targets[:, :2].sum(dim=1))
        assert 0 < targets[0, 0] < 1


def test_labels_are_smoothed_and_pixels_erased():
    imgs, labels = torch.full((200, 1, 8, 8), 9.0), torch.arange(200) % 4
    with all_seeded(0, CPU):
        erased, targets = erased_and_mixed(
            imgs.clone(), labels, Augmentation(erase=0.25, label_smoothing=0.1), 4
        )
    assert targets[1].tolist() == pytest.approx([0.025, 0.925, 0.025, 0.025])
    hit = (erased != imgs).flatten(1).any(dim=1).float().mean()
    assert 0.15 < hit < 0.35


def test_held_out_images_lose_their_rim_where_the_recipe_says_so(folder):
    config = read_config("fashion-tiny", ("model.image_size=24",))
    from dataclasses import replace

    view, images = view_of(config), open_source("sample").held_out
    few = type(images)(images.pixels[:4], None)
    # 24 of 28 pixels: nothing is resized, so the centre is seen as it is.
    batch = next(plain_batches(few, replace(view, central=24 / 28), 4, CPU, 0))
    seen = view.restore(batch.imgs).round().to(torch.uint8).numpy()
    np.testing.assert_array_equal(seen, few.pixels[:, :, 2:26, 2:26])
