"""One image cut and resized: decoded no larger than needed, and still the same picture."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import cbook
from PIL import Image, ImageOps

from mae.data.crop import AS_IT_LIES, ORIENTATION, UNREADABLE, cut, reduction, resized, turn_of

SIDES = st.integers(1, 5000)


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    """A real photograph of 1024 x 1200 pixels as a JPEG."""
    with cbook.get_sample_data("grace_hopper.jpg") as file, Image.open(file) as image:
        path = tmp_path_factory.mktemp("photo") / "photo.jpg"
        image.resize((1024, 1200), Image.Resampling.BICUBIC).save(path, quality=92)
    return path


def plainly(path: Path, box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    """What a crop of the wholly decoded image looks like."""
    top, left, height, width = box
    with Image.open(path) as image:
        part = image.convert("RGB").crop((left, top, left + width, top + height))
    return np.asarray(part.resize(size[::-1], Image.Resampling.BICUBIC)).astype(int)


def ours(path: Path, box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    with Image.open(path) as image:
        return resized(*cut(image, box, size, "RGB"), size).astype(int)


@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES))
def test_what_is_left_out_is_never_missed(crop, size):
    by = reduction(crop, size)
    assert by == 1 or (crop[0] / by >= size[0] and crop[1] / by >= size[1])
    assert by == 8 or crop[0] < 2 * by * size[0] or crop[1] < 2 * by * size[1]


@pytest.mark.parametrize(
    "box", [(0, 0, 1200, 1024), (101, 57, 700, 691), (3, 5, 900, 451), (1200 - 449, 0, 449, 1024)]
)
def test_a_scaled_decode_shows_the_same_pixels(photo, box):
    size = (112, 112)
    assert reduction(box[2:], size) >= 2
    whole, scaled = plainly(photo, box, size), ours(photo, box, size)
    assert np.abs(whole - scaled).mean() < 2
    # A crop that lies one resized pixel beside is much farther away.
    top, left, height, width = box
    beside = (top, left, height - height // 112, width - width // 112)
    assert (
        np.abs(whole - scaled).mean() < 0.5 * np.abs(plainly(photo, beside, size) - scaled).mean()
    )


def test_a_crop_that_is_not_twice_as_large_is_decoded_whole(photo):
    box = (100, 100, 223, 300)
    np.testing.assert_array_equal(ours(photo, box, (112, 112)), plainly(photo, box, (112, 112)))


def test_other_formats_are_decoded_whole(photo, tmp_path):
    path = tmp_path / "photo.png"
    with Image.open(photo) as image:
        image.save(path, compress_level=1)
    box = (0, 0, 1200, 1024)
    np.testing.assert_array_equal(ours(path, box, (112, 112)), plainly(path, box, (112, 112)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(50, 20), (260, 300)])  # decoded at an eighth, and whole
def test_a_photograph_is_cut_as_it_looks_when_turned(photo, tmp_path, orientation, size):
    path, exif = tmp_path / "turned.jpg", Image.Exif()
    exif[ORIENTATION] = orientation
    with Image.open(photo) as image:
        image.resize((512, 600)).save(path, exif=exif, quality=92)
    with Image.open(path) as image:
        ImageOps.exif_transpose(image).save(tmp_path / "upright.png", compress_level=1)
        tall, wide = (600, 512) if orientation < 5 else (512, 600)
        box = (13, 31, tall - 100, wide - 50)
        turn = turn_of(image)
        assert turn.sides((600, 512)) == (tall, wide)
        turned = resized(*cut(image, box, size, "RGB", turn), size).astype(int)
    whole = plainly(tmp_path / "upright.png", box, size)
    if size[0] > 100:
        np.testing.assert_array_equal(turned, whole)
    assert np.abs(turned - whole).mean() < 2
    assert np.abs(turned[::-1] - whole).mean() > 20
    assert np.abs(turned[:, ::-1] - whole).mean() > 20


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"", None])
def test_exif_that_makes_no_sense_turns_nothing(photo, tmp_path, exif):
    with Image.open(photo) as image:
        image.save(tmp_path / "photo.jpg", **({} if exif is None else {"exif": exif}))
    with Image.open(tmp_path / "photo.jpg") as image:
        assert turn_of(image) == AS_IT_LIES


def test_a_large_jpeg_is_decoded_smaller(photo):
    with Image.open(photo) as image:
        cut(image, (0, 0, 1200, 1024), (112, 112), "RGB")
        assert image.size == (128, 150)


@pytest.mark.parametrize(
    ("limit", "told"), [(1_000_000, "read"), (600_000, "exceeds limit")], ids=["large", "larger"]
)
def test_a_large_image_is_read_without_a_word_and_a_larger_one_is_unreadable(photo, limit, told):
    """Pillow's limit lowered, so that the photograph's 1.2 million pixels are many."""
    code = (
        "import sys; from PIL import Image; from mae.data.crop import UNREADABLE, cut\n"
        f"Image.MAX_IMAGE_PIXELS = {limit}\n"
        "try: cut(Image.open(sys.argv[1]), (0, 0, 1200, 1024), (500, 500), 'RGB'); print('read')\n"
        "except UNREADABLE as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, photo], capture_output=True, text=True)
    assert (told in done.stdout, done.stderr) == (True, "")


def test_what_pillow_thinks_of_an_image_is_not_printed(tmp_path):
    image = Image.new("P", (8, 8))
    image.putpalette(bytes(range(48)))
    image.save(tmp_path / "clear.png", transparency=bytes([0, 9]))
    code = (
        "import sys; from PIL import Image; from mae.data.crop import cut\n"
        "print(cut(Image.open(sys.argv[1]), (0, 0, 8, 8), (8, 8), 'RGB')[0].size)"
    )
    command = [sys.executable, "-c", code, tmp_path / "clear.png"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("(8, 8)\n", "")


def deep(levels: np.ndarray, path: Path, mode: str) -> Path:
    """A picture of (64, 96) numbers as a file; Pillow tells the mode of a TIFF, and of a PNG."""
    Image.fromarray(levels).save(path)
    with Image.open(path) as image:
        assert image.mode == mode
    return path


@pytest.mark.parametrize(
    ("dtype", "suffix", "mode"),
    [(">u2", "tiff", "I;16B"), ("<u2", "png", "I;16"), ("<i4", "tiff", "I")],
)
def test_sixteen_bits_a_pixel_show_the_picture_that_eight_show(tmp_path, dtype, suffix, mode):
    eight = np.arange(64 * 96).reshape(64, 96) % 256
    path = deep((eight * 257).astype(dtype), tmp_path / f"deep.{suffix}", mode)
    box = (3, 5, 50, 80)
    np.testing.assert_array_equal(
        ours(path, box, (50, 80))[..., 0], eight[3:53, 5:85], err_msg="not clipped to white"
    )


@pytest.mark.parametrize(
    ("dtype", "mode", "complaint"),
    [("<f4", "F", "floats"), ("<i4", "I", "beyond 16 bits")],
)
def test_numbers_without_a_white_are_unreadable(tmp_path, dtype, mode, complaint):
    path = deep(np.full((64, 96), 70_000, dtype), tmp_path / "deep.tiff", mode)
    with pytest.raises(ValueError, match=complaint) as caught:
        ours(path, (0, 0, 64, 96), (32, 48))
    assert isinstance(caught.value, UNREADABLE)
