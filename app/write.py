"""Label images to files that are either whole or not there."""

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray


def output_path(image: Path, folder: Path) -> Path:
    """Where the label image of an image goes: its name up to the first dot, ``_label.tiff``."""
    return folder / f"{image.name.split('.')[0]}_label.tiff"


def write_label(path: Path, label: NDArray[np.uint16] | NDArray[np.uint32]) -> None:
    """Write a label image as a single-page TIFF, zlib-compressed.

    It is written under a temporary name and then renamed, so that no reader sees half a file.

    Args:
        path: of the result; an existing file is replaced.
        label: (H, W) uint16 or uint32.

    Raises:
        OSError: the folder can't be written to, or is full.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        tifffile.imwrite(part, label, compression="zlib", photometric="minisblack", metadata=None)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
