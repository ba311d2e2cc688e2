"""The label images of the planes of a stack, written as one file."""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from .arrays import FileArray
from .atomic import atomic_write, scratch_path
from .labels import TILE, Labels, in_tiles_of, label_tiles, ome_scaled, write_label
from .pixel_size import Size
from .stacks import Grid

_MAX_CLASSIC = 2**31  # bytes without compression; BigTIFF above


class LabelWriter:
    """Takes the label images of planes one by one, and makes one file of them at the end.

    That is an OME-TIFF with the planes' axes and a page for each, as ``write_label`` writes one;
    all are uint32 if one of them has to be. Where no plane is, it is empty. No plane's label image
    stays in memory: until the end they are in a scratch file beside the result, compressed.

    Args:
        path: of the result; an existing file is replaced.
        grid: of the planes. Of a single one the result is what ``write_label`` writes.
        pixel_size: (y, x) micrometres, where it is known.

    Raises:
        OSError: the folder can't be written to, or is full; so do the methods.
    """

    def __init__(self, path: Path, grid: Grid, pixel_size: Size | None = None) -> None:
        self.path, self._grid, self._pixel_size = path, grid, pixel_size
        self._scratch = scratch_path(path, "planes")
        self._dtype = np.dtype(np.uint16)
        self._layout: dict[str, Any] = {"compression": "zlib", "photometric": "minisblack"}
        self._writer = tifffile.TiffWriter(self._scratch, bigtiff=True) if grid.axes else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is None:
            return
        try:
            self._writer.close()
        finally:
            self._scratch.unlink(missing_ok=True)

    def add(self, labels: Labels) -> None:
        """Add the label image of the next plane."""
        if self._writer is None:
            write_label(self.path, labels, self._pixel_size)
            return
        self._dtype = np.promote_types(self._dtype, labels.dtype)
        layout = self._layout | {"metadata": None, "contiguous": False}
        if isinstance(labels.canvas, FileArray):
            self._layout["tile"] = (TILE, TILE)
            layout |= in_tiles_of(labels)
            self._writer.write(label_tiles(labels), **layout)
        else:
            self._writer.write(labels[:, :], **layout)

    def finish(self) -> None:
        """Write the file, once all planes were added."""
        if self._writer is None:
            return
        self._writer.close()
        with tifffile.TiffFile(self._scratch) as planes, atomic_write(self.path) as part:
            shape = (*self._grid.lengths, *planes.pages.first.shape)
            layout = self._layout | ome_scaled(
                self._identify(), f"{self._grid.axes}YX", self._pixel_size
            )
            tifffile.imwrite(
                part,
                self._segments(planes),
                shape=shape,
                dtype=self._dtype,
                bigtiff=math.prod(shape) * self._dtype.itemsize > _MAX_CLASSIC,
                maxworkers=1,  # else it takes up to half a gigabyte of them into memory
                **layout,
            )

    def _segments(self, planes: tifffile.TiffFile) -> Iterator[NDArray[Any]]:
        """Whole label images, or their tiles, at every place of the grid."""
        first = planes.pages.first
        numbers = {place: number for number, place in enumerate(self._grid.positions)}
        for place in np.ndindex(self._grid.lengths):
            number = numbers.get(place)
            if "tile" not in self._layout:
                empty = number is None
                plane = np.zeros(first.shape, np.uint16) if empty else planes.asarray(number)
                yield plane.astype(self._dtype, copy=False)
            elif number is not None:
                for tile, *_ in planes.pages[number].segments(maxworkers=1):
                    yield np.asarray(tile)[0, :, :, 0].astype(self._dtype, copy=False)
            else:
                for _ in range(math.prod(first.chunked)):
                    yield np.zeros((TILE, TILE), self._dtype)

    def _identify(self) -> str:
        """What tells this file apart from others; the same for the same labels."""
        with self._scratch.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        digest.update(repr(self._grid).encode())
        return digest.hexdigest()
