"""What an image is to every stage: something with a shape of which parts can be read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class ImageError(ValueError):
    """An image that can't be segmented: names the file, what was found and what to do."""


class NotSupportedError(ValueError):
    """A file of a kind that isn't read: says which."""


class NotCompleteError(ValueError):
    """A file that was cut short or is broken: says where."""


class Pixels(Protocol):
    """A numpy array is one; so is a file that is read in parts."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, C)."""

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, window: tuple[slice, slice], /) -> NDArray[Any]:
        """(h, w, C) pixels of some rows and columns; slices of step 1 within the image."""


class FileArray:
    """An array in a file without compression, of which no more is in memory than is used.

    Args:
        path: the file; for writing it must exist and be large enough.
        dtype: of the array, in the byte order of the file.
        shape: of the array.
        offset: bytes before its first value.
    """

    def __init__(
        self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int = 0
    ) -> None:
        self.path, self.dtype, self.shape, self.offset = path, dtype, shape, offset

    def __getitem__(self, key: tuple[slice | int, ...]) -> NDArray[Any]:
        """A copy of a part, in native byte order."""
        # Mapped anew each time: what a mapping has touched counts as memory in use until it ends.
        part = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)[key]
        return np.array(part, self.dtype.newbyteorder("="))

    def __setitem__(self, key: tuple[slice | int, ...], values: NDArray[Any]) -> None:
        np.memmap(self.path, self.dtype, "r+", self.offset, self.shape)[key] = values


def blocks(shape: tuple[int, ...], size: int) -> Iterator[tuple[int, int, int, int]]:
    """The blocks y0, x0, y1, x1 that an image is cut into, row by row.

    Args:
        shape: (H, W) of the image.
        size: side of a block in pixels; the last of a row or column is smaller.
    """
    for y in range(0, shape[0], size):
        for x in range(0, shape[1], size):
            yield y, x, min(y + size, shape[0]), min(x + size, shape[1])


def size_text(size: int) -> str:
    """A number of bytes for people."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} bytes"
