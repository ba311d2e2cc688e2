"""Label images to files that are either whole or not there."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from app.paste import Labels
from app.pixels import FileArray
from app.tile import blocks

_TILE = 512  # pixels along each side, in the files of large images


def output_path(image: Path, folder: Path) -> Path:
    """Where the label image of an image goes: its name up to the first dot, ``_label.tiff``."""
    return folder / f"{image.name.split('.')[0]}_label.tiff"


def scratch_path(path: Path, use: str) -> Path:
    """A hidden file beside another one; a run that was killed leaves it, the next overwrites it."""
    return path.with_name(f".{path.name}.{use}")


def write_label(path: Path, labels: Labels) -> None:
    """Write a label image as a single-page TIFF, zlib-compressed.

    It is written under a temporary name and then renamed, so that no reader sees half a file. A
    label image that is too large for memory is written in tiles, as BigTIFF.

    Args:
        path: of the result; an existing file is replaced.

    Raises:
        OSError: the folder can't be written to, or is full.
    """
    part = scratch_path(path, "part")
    layout: dict[str, Any] = {"compression": "zlib", "photometric": "minisblack", "metadata": None}
    try:
        if isinstance(labels.canvas, FileArray):
            layout |= {"shape": labels.shape, "dtype": labels.dtype, "tile": (_TILE, _TILE)}
            tifffile.imwrite(part, _tiles(labels), bigtiff=True, **layout)
        else:
            tifffile.imwrite(part, labels[:, :], **layout)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Hash of a file, lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tiles(labels: Labels) -> Iterator[NDArray[Any]]:
    for y0, x0, y1, x1 in blocks(labels.shape, _TILE):
        tile = np.zeros((_TILE, _TILE), labels.dtype)
        tile[: y1 - y0, : x1 - x0] = labels[y0:y1, x0:x1]
        yield tile
