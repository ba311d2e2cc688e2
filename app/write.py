"""Label images to files that are either whole or not there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from app.paste import Labels
from app.pixels import FileArray
from app.tile import blocks
from app.whole import written_whole

_TILE = 512  # pixels along each side, in the files of large images


def output_path(image: Path, folder: Path) -> Path:
    """Where the label image of an image goes: its name up to the first dot, ``_label.tiff``."""
    return folder / f"{image.name.split('.')[0]}_label.tiff"


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
    with written_whole(path) as part:
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
