"""An image of three channels with names, of which one holds the cells."""

from pathlib import Path

import numpy as np
import tifffile

from tests.app.command_line import IMAGE

BLANK = np.full_like(IMAGE, 20)
STAINS = np.stack([BLANK, IMAGE, BLANK]).astype(np.uint16) * 10  # (C, H, W)
NAMES = ["DAPI", "CD45", "Pan CK"]


def write_ome(path: Path, names=NAMES, image=STAINS) -> None:
    metadata = {"axes": "CYX", "Channel": {"Name": names}}
    tifffile.imwrite(path, image, ome=True, metadata=metadata, photometric="minisblack")
