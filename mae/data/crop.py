"""Cut, turn and resize one image, decoding a JPEG no larger than the crop needs it."""

import math
import struct
import warnings
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# What Pillow raises for files that are no images, or not whole ones; its decoders of rarer forms,
# whatever their code meets. Which of them decodes is up to the content, not to the name.
UNREADABLE = (
    *(OSError, ValueError, SyntaxError, Image.DecompressionBombError),
    *(ArithmeticError, EOFError, LookupError, NotImplementedError, TypeError, struct.error),
)
# Pillow warns of images that it reads: of more than 89 million pixels (from twice as many on, one
# is unreadable here), of transparency, which nobody learns, of a damaged EXIF. That is Python's
# kind of warning, in two lines that name no image: nobody is helped.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
Box = tuple[int, int, int, int]  # top, left, height, width
Edges = tuple[float, float, float, float]  # left, top, right, bottom
SIXTEEN_BITS = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # grey modes, by Pillow's names
REDUCTIONS = (8, 4, 2)  # what a JPEG decoder can leave out while it decodes
ORIENTATION = 0x0112  # EXIF's number for it


class Turn(NamedTuple):
    """What makes an image upright: its rows become columns, then it is mirrored."""

    exchanged: bool = False
    across: bool = False  # left to right
    down: bool = False  # top to bottom

    def sides(self, sides: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the upright image, of those in the file, or the other way round."""
        return sides[::-1] if self.exchanged else sides

    def lying(self, box: Box, sides: tuple[int, int]) -> Box:
        """The box in the file, of `sides` height and width, that is this one when upright."""
        top, left, height, width = box
        tall, wide = self.sides(sides)
        top = tall - top - height if self.down else top
        left = wide - left - width if self.across else left
        return (left, top, width, height) if self.exchanged else (top, left, height, width)

    def upright(self, part: Image.Image, edges: Edges) -> tuple[Image.Image, Edges]:
        """A part of the file's image, and where something is in it, turned upright."""
        left, top, right, bottom = edges
        if self.exchanged:
            part = part.transpose(Image.Transpose.TRANSPOSE)
            left, top, right, bottom = top, left, bottom, right
        if self.across:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            left, right = part.width - right, part.width - left
        if self.down:
            part = part.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
            top, bottom = part.height - bottom, part.height - top
        return part, (left, top, right, bottom)


AS_IT_LIES = Turn()
TURNS = {  # by EXIF's orientations
    2: Turn(across=True),
    3: Turn(across=True, down=True),
    4: Turn(down=True),
    5: Turn(exchanged=True),
    6: Turn(exchanged=True, across=True),
    7: Turn(exchanged=True, across=True, down=True),
    8: Turn(exchanged=True, down=True),
}


def opened(file: str | Path | IO[bytes]) -> Image.Image:
    """The image in a file, of which only the header is read: by its content, whatever its name.

    Raises what is in UNREADABLE, also for PostScript: Pillow would have Ghostscript run it.
    """
    image = Image.open(file)
    if image.format == "EPS":
        image.close()
        raise ValueError("PostScript, a program and no picture")
    return image


def turn_of(image: Image.Image) -> Turn:
    """How an opened image is made upright, by its EXIF; if that makes no sense, it is already."""
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1), AS_IT_LIES)
    except UNREADABLE:
        return AS_IT_LIES


def reduction(crop: tuple[int, int], size: tuple[int, int]) -> int:
    """By how much both sides of a crop (height, width) can be divided and still reach `size`."""
    fits = (by for by in REDUCTIONS if crop[0] >= by * size[0] and crop[1] >= by * size[1])
    return next(fits, 1)


def cut(
    image: Image.Image, box: Box, size: tuple[int, int], mode: str, turn: Turn = AS_IT_LIES
) -> tuple[Image.Image, Edges]:
    """The part of an opened image around a box that will be resized to `size`, and where in it.

    `box` is top, left, height, width in pixels of the whole image, when turned; the edges are left,
    top, right, bottom in pixels of the part. Where the box is at least twice as large as `size`,
    a JPEG is decoded at a half, a quarter or an eighth: the same box, to the fraction of a pixel,
    from fewer pixels; else the part is the box. Raises what is in UNREADABLE for a damaged file.
    """
    top, left, height, width = turn.lying(box, (image.height, image.width))
    by = reduction((height, width), turn.sides(size))
    if by > 1 and image.draft(None, (image.width // by, image.height // by)) is None:
        by = 1  # not a JPEG
    edges = (left / by, top / by, (left + width) / by, (top + height) / by)
    x, y = math.floor(edges[0]), math.floor(edges[1])
    part = in_bytes(image.crop((x, y, math.ceil(edges[2]), math.ceil(edges[3]))))
    within = (edges[0] - x, edges[1] - y, edges[2] - x, edges[3] - y)
    return turn.upright(part.convert(mode), within)


def in_bytes(image: Image.Image) -> Image.Image:
    """The same picture in a mode of bytes: of 16 bits a pixel the 8 that a screen would show.

    Pillow would clip them: nearly all of such a picture would become white. Raises ValueError where
    nothing says which number is white, as for floats.
    """
    if image.mode == "F":
        raise ValueError("floats, which have no white; make it 8 or 16 bits a pixel")
    if image.mode not in SIXTEEN_BITS:
        return image
    levels = np.asarray(image).astype(np.int64)
    if levels.min() < 0 or levels.max() > 65535:
        raise ValueError("numbers beyond 16 bits a pixel; make it 8 or 16 bits a pixel")
    return Image.fromarray(((levels + 128) // 257).astype(np.uint8))


def resized(part: Image.Image, edges: Edges, size: tuple[int, int]) -> NDArray[np.uint8]:
    """What lies within the edges of a part as (h, w, C) uint8 of `size`, bicubic, by Pillow."""
    image = part.resize(size[::-1], Image.Resampling.BICUBIC, box=edges)
    return np.asarray(image).reshape(*size, -1)
