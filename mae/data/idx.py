"""The idx format of the MNIST family: a magic number, the sizes, then bytes; gzipped or plain."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mae.errors import BadInput

UNSIGNED_BYTE = 0x08


def find_idx(directory: Path, name: str) -> Path | None:
    """The file of that idx name in a directory, plain or gzipped, if there is one."""
    candidates = (directory / name, directory / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array in an idx file of unsigned bytes, in the shape that its header says."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadInput(f"{path}: not a whole gzip file ({error}); fetch it again") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE:
        raise BadInput(f"{path}: not an idx file of unsigned bytes; fetch it again")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise BadInput(f"{path}: the idx header is cut short; fetch it again")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    pixels = np.frombuffer(content, np.uint8, offset=start)
    try:
        return pixels.reshape(shape)
    except ValueError:  # also of more dimensions than there can be
        raise BadInput(
            f"{path}: the header promises shape {shape}, but {pixels.size} bytes follow; "
            "fetch it again"
        ) from None


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write an array of unsigned bytes as a gzipped idx file, the same bytes every time."""
    header = struct.pack(f">4B{array.ndim}I", 0, 0, UNSIGNED_BYTE, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=9, mtime=0))
