"""Label images: while they are made, and as files that are either whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from .arrays import FileArray, blocks
from .atomic import atomic_write
from .kinds import stem

# A larger label image is kept in a file while it is made.
_MAX_IN_MEMORY = 2**28  # bytes
_TILE = 512  # pixels along each side, in the files of large images
# A label image while it is made: (H, W) uint32.
Canvas = NDArray[np.uint32] | FileArray


@dataclass(frozen=True)
class Labels:
    """A label image of any size: 0 is background, 1 to ``count`` are the cells."""

    canvas: Canvas
    """(H, W) uint32 first ids."""
    numbers: NDArray[np.uint16] | NDArray[np.uint32]
    """The final id of each first id."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W)."""
        return self.canvas.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint16, or uint32 where there are more than 65,535 cells."""
        return self.numbers.dtype

    @property
    def count(self) -> int:
        return int(self.numbers.max())

    def __getitem__(self, window: tuple[slice, slice]) -> NDArray[Any]:
        return self.numbers[self.canvas[window]]


@contextmanager
def open_canvas(shape: tuple[int, ...], scratch: Path) -> Iterator[Canvas]:
    """An empty (H, W) uint32 label image to paste into.

    Args:
        shape: (H, W).
        scratch: a file that is made, and removed at the end, if the label image is so large that
            it is kept out of memory: 4 bytes a pixel.

    Raises:
        OSError: there is no room for the file.
    """
    size = 4 * shape[0] * shape[1]
    if size <= _MAX_IN_MEMORY:
        yield np.zeros(shape, np.uint32)
        return
    try:
        with scratch.open("wb") as file:
            # Now, and not when a page of the mapped file is first written: that ends the process.
            os.posix_fallocate(file.fileno(), 0, size)
        yield FileArray(scratch, np.dtype(np.uint32), shape)
    finally:
        scratch.unlink(missing_ok=True)


def output_path(image: Path, folder: Path) -> Path:
    """Where the label image of an image goes: its name without the suffix, ``_label.tiff``."""
    return folder / f"{stem(image.name)}_label.tiff"


def write_label(path: Path, labels: Labels) -> None:
    """Write a label image as a single-page TIFF, zlib-compressed.

    No reader sees half a file. A label image that is too large for memory is written in tiles, as
    BigTIFF.

    Args:
        path: of the result; an existing file is replaced.

    Raises:
        OSError: the folder can't be written to, or is full.
    """
    layout: dict[str, Any] = {"compression": "zlib", "photometric": "minisblack", "metadata": None}
    with atomic_write(path) as part:
        if isinstance(labels.canvas, FileArray):
            layout |= {"shape": labels.shape, "dtype": labels.dtype, "tile": (_TILE, _TILE)}
            tifffile.imwrite(part, _tiles(labels), bigtiff=True, **layout)
        else:
            tifffile.imwrite(part, labels[:, :], **layout)


def _tiles(labels: Labels) -> Iterator[NDArray[Any]]:
    for y0, x0, y1, x1 in blocks(labels.shape, _TILE):
        tile = np.zeros((_TILE, _TILE), labels.dtype)
        tile[: y1 - y0, : x1 - x0] = labels[y0:y1, x0:x1]
        yield tile
