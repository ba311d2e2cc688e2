"""From the samples of a TIFF page to channels: palette, inverted levels, alpha."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from .arrays import ImageError

_ALPHA = (1, 2)  # of the ExtraSamples tag: whether or not the colours were multiplied by it
# Colours that are neither grey nor red, green and blue; JPEG and JPEG 2000 turn YCbCr into RGB.
_OTHER_COLOURS = ("SEPARATED", "YCBCR", "CIELAB", "ICCLAB", "ITULAB", "LOGLUV", "CFA")
_DECODES_COLOUR = (6, 7, 33003, 33004, 33005, 33007, 34712, 34892)


class Colours:
    """What the samples of a page stand for.

    Raises:
        ImageError: for colours that are neither grey nor red, green and blue.
    """

    def __init__(self, page: Any, path: Path) -> None:
        photometric = tifffile.PHOTOMETRIC(page.photometric)
        is_decoded = photometric.name == "YCBCR" and page.compression in _DECODES_COLOUR
        if photometric.name in _OTHER_COLOURS and not is_decoded:
            raise ImageError(f"{path}: its colours are {photometric.name}; export it as RGB")
        self.path = path
        self.highest: int | None = None  # of levels of which 0 is white
        if photometric is tifffile.PHOTOMETRIC.MINISWHITE:
            self.highest = 2**page.bitspersample - 1
        self.palette: NDArray[np.uint8] | None = None
        self.is_scale = True
        if photometric is tifffile.PHOTOMETRIC.PALETTE:
            colours = np.asarray(page.colormap).T  # of 16 bits, but some write only 8
            self.palette = (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)
            self.is_scale = bool((self.palette[1:] >= self.palette[:-1]).all())
        extra = page.extrasamples or ()
        first = page.samplesperpixel - len(extra)
        self.samples = page.samplesperpixel
        self.alpha = [first + k for k, kind in enumerate(extra) if kind in _ALPHA]

    def finish(self, block: NDArray[Any]) -> NDArray[Any]:
        """(h, w, C) channels of (h, w, S) samples.

        Of several channels a palette in which nothing becomes darker is how a program displays the
        first one; each has its levels.

        Raises:
            ImageError: several channels are numbers of colours.
        """
        if block.dtype == np.bool_:
            block = block.astype(np.uint8)
        if self.alpha and block.shape[2] % self.samples == 0:
            stays = [k for k in range(block.shape[2]) if k % self.samples not in self.alpha]
            block = block[:, :, stays]
        if self.palette is not None and block.shape[2] == 1:
            return np.asarray(self.palette[block[:, :, 0]])
        if not self.is_scale:
            raise ImageError(
                f"{self.path}: has {block.shape[2]} channels and a palette that is no scale from "
                "dark to bright; export it as RGB, or each channel as grey"
            )
        if self.highest is None:
            return block
        if block.dtype.kind == "u":
            return np.asarray(self.highest - block)
        return -block if block.dtype.kind == "f" else ~block  # about the middle of their range
