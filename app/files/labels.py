"""Label images: while they are made, and as files that are either whole or not there."""

import os
import uuid
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
from .pixel_size import Size

# A larger label image is kept in a file while it is made.
_MAX_IN_MEMORY = 2**28  # bytes
_WRITERS, _BUFFER = 2, 2**24  # threads that compress its tiles, and bytes that these take at once
TILE = 512  # pixels along each side, in the files of large images
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


# What may lie beside NAME_label.tiff, by its name on the command line.
RESULT_FILES = {
    "table": "_cells.csv",
    "geojson": ".geojson",
    "geojson.gz": ".geojson.gz",
    "rois": "_rois.zip",
    "overlay": "_overlay.jpg",
}
REPORT_FILE = "report.html"
_LABEL = "_label.tiff"


def result_path(label: Path, kind: str) -> Path:
    """Where a result goes: beside the label image, with another end of its name."""
    return label.with_name(label.name.removesuffix(_LABEL) + RESULT_FILES[kind])


def output_path(image: Path, folder: Path) -> Path:
    """Where the label image of an image goes: its name without the suffix, ``_label.tiff``."""
    return folder / f"{stem(image.name)}{_LABEL}"


def write_label(path: Path, labels: Labels, pixel_size: Size | None = None) -> None:
    """Write a label image as a single-page TIFF, zlib-compressed.

    No reader sees half a file. A label image that is too large for memory is written in tiles, as
    BigTIFF. With a pixel size it says so as ImageJ does, or as OME-TIFF what ImageJ can't hold.

    Args:
        path: of the result; an existing file is replaced.
        labels: the label image.
        pixel_size: (y, x) micrometres, where it is known.

    Raises:
        OSError: the folder can't be written to, or is full.
    """
    layout: dict[str, Any] = {"compression": "zlib", "photometric": "minisblack", "metadata": None}
    in_tiles = isinstance(labels.canvas, FileArray)
    if pixel_size is not None:
        by_imagej = labels.dtype == np.uint16 and not in_tiles
        layout |= (
            _scaled(pixel_size, labels.count)
            if by_imagej
            else ome_scaled(path.name, "YX", pixel_size)
        )
    with atomic_write(path) as part:
        if in_tiles:
            layout |= in_tiles_of(labels)
            tifffile.imwrite(part, label_tiles(labels), bigtiff=True, **layout)
        else:
            tifffile.imwrite(part, labels[:, :], **layout)


def in_tiles_of(labels: Labels) -> dict[str, Any]:
    """What makes tifffile write a label image from its ``label_tiles``."""
    return {
        "shape": labels.shape,
        "dtype": labels.dtype,
        "tile": (TILE, TILE),
        "maxworkers": _WRITERS,
        "buffersize": _BUFFER,
    }


def _scaled(pixel_size: Size, count: int) -> dict[str, Any]:
    """What makes tifffile write a pixel size as ImageJ does, and a range of grey for ids."""
    y, x = pixel_size
    metadata = {"axes": "YX", "unit": "um", "min": 0, "max": count}
    return {"imagej": True, "resolution": (1 / x, 1 / y), "metadata": metadata}


def ome_scaled(name: str, axes: str, pixel_size: Size | None) -> dict[str, Any]:
    """What makes tifffile write OME-TIFF, with the pixel size where it is known.

    Args:
        name: from which the file's UUID is made, so that equal files have equal bytes.
        axes: as in OME, YX at the end.
        pixel_size: (y, x) micrometres.
    """
    metadata: dict[str, Any] = {"axes": axes, "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, name))}
    if pixel_size is None:
        return {"ome": True, "metadata": metadata}
    for axis, size in zip("YX", pixel_size, strict=True):
        metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"}
    y, x = pixel_size
    resolution = {"resolution": (1e4 / x, 1e4 / y), "resolutionunit": "CENTIMETER"}
    return {"ome": True, "metadata": metadata, **resolution}


def label_tiles(labels: Labels) -> Iterator[NDArray[Any]]:
    """The tiles of a label image, (512, 512) each, row by row; 0 where they stand out of it."""
    for y0, x0, y1, x1 in blocks(labels.shape, TILE):
        tile = np.zeros((TILE, TILE), labels.dtype)
        tile[: y1 - y0, : x1 - x0] = labels[y0:y1, x0:x1]
        yield tile
