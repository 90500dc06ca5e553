"""Crops, and the matrix products that cut and resize them, against Pillow."""

import numpy as np
import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mae.data.augment import central_boxes, random_boxes, random_flips
from mae.data.resample import resample, weights
from mae.draws import uniforms

SIZES = st.tuples(st.integers(1, 400), st.integers(1, 400))
SCALES = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted).map(tuple)
RATIOS = st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)).map(sorted).map(tuple)


@given(st.integers(0, 2**32), st.integers(0, 99), SIZES, SCALES, RATIOS)
def test_every_crop_lies_within_its_image(seed, epoch, size, scale, ratio):
    boxes = random_boxes(seed, epoch, [5, 6, 7], np.array([size] * 3), scale, ratio)
    top, left, height, width = boxes.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (height >= 1).all()
    assert (width >= 1).all()
    assert (top + height <= size[0]).all()
    assert (left + width <= size[1]).all()


def test_crops_have_the_asked_areas_and_ratios():
    sizes = np.full((5000, 2), 500)
    boxes = random_boxes(0, 0, np.arange(5000), sizes, (0.2, 1.0), (3 / 4, 4 / 3))
    share = boxes[:, 2] * boxes[:, 3] / 500**2
    ratio = boxes[:, 3] / boxes[:, 2]
    assert 0.195 < share.min() < 0.21
    assert share.max() > 0.97
    assert 0.5 < share.mean() < 0.6  # large crops fit less often
    assert ratio.min() > 0.74
    assert ratio.max() < 1.35
    assert abs(np.log(ratio).mean()) < 0.01


def test_a_ratio_that_never_fits_gives_the_largest_central_crop():
    boxes = random_boxes(0, 0, [0], np.array([[10, 1000]]), (0.9, 1.0), (3 / 4, 4 / 3))
    np.testing.assert_array_equal(boxes, [[0, 493, 10, 13]])


def test_a_plain_view_is_central_and_as_large_as_can_be():
    sizes = np.array([[100, 60], [60, 100], [28, 28]])
    expected = [[20, 0, 60, 60], [0, 20, 60, 60], [0, 0, 28, 28]]
    np.testing.assert_array_equal(central_boxes(sizes, (1.0, 1.0)), expected)


def test_half_of_the_images_are_mirrored():
    flips = random_flips(0, 0, np.arange(10_000))
    assert abs(flips.mean() - 0.5) < 0.02
    assert (flips != random_flips(0, 1, np.arange(10_000))).any()


@given(st.integers(1, 90), st.integers(1, 90), st.data())
def test_resampling_weights_sum_to_one_and_stay_within_the_crop(before, after, data):
    length = data.draw(st.integers(1, before))
    start = data.draw(st.integers(0, before - length))
    matrix = weights(torch.tensor([float(start)]), torch.tensor([float(length)]), before, after)[0]
    assert matrix.shape == (after, before)
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(after))
    outside = torch.ones(before, dtype=torch.bool)
    outside[start : start + length] = False
    assert not matrix[:, outside].any()


@pytest.mark.parametrize("after", [5, 9, 17, 40])
def test_one_axis_agrees_with_the_formula(after):
    line = uniforms(0, "line", 0, [0], 17)[0]
    matrix = weights(torch.tensor([0.0]), torch.tensor([17.0]), 17, after)[0]
    ours = matrix.double().numpy() @ line
    np.testing.assert_allclose(ours, reference.bicubic_axis(line, after), atol=1e-5)


@pytest.mark.parametrize("size", [(28, 28), (16, 40), (10, 12), (56, 30)])
def test_crops_agree_with_pillow_within_a_grey_level(sample, size):
    samples = np.arange(200)
    boxes = random_boxes(3, 0, samples, np.full((200, 2), 28), (0.1, 1.0), (0.5, 2.0))
    flips = random_flips(3, 0, samples)
    pixels = torch.from_numpy(sample.pixels[:200].copy())
    where, mirrored = torch.from_numpy(boxes), torch.from_numpy(flips)
    rows_first = resample(pixels, where, mirrored, size).numpy()
    # The same with the axes' roles exchanged: Pillow 13 resizes in the order that costs less.
    turned = resample(pixels.mT, where[:, [1, 0, 3, 2]], mirrored & False, size[::-1]).mT.numpy()
    turned[flips] = turned[flips][..., ::-1]
    for n, ((top, left, height, width), flip) in enumerate(zip(boxes, flips, strict=True)):
        image = Image.fromarray(np.ascontiguousarray(sample.pixels[n, 0]))
        image = image.crop((left, top, left + width, top + height))
        theirs = np.asarray(image.resize(size[::-1], Image.Resampling.BICUBIC)).astype(int)
        theirs = theirs[:, ::-1] if flip else theirs
        off = min(abs(ours[n, 0] - theirs).max() for ours in (rows_first, turned))
        assert off <= 1
