"""Draw the outlines of a label image over its image, to look at.

python -m training.report.overlay IMAGE LABEL OVERLAY.png
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from app.files.open import read_image
from app.normalise import normalise

_PERCENTILES = (1.0, 99.0)
_MIN_SIDE = 768  # smaller images are enlarged, so that an outline is thinner than a cell


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("image", "label", "overlay"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args(arguments)
    image = normalise(read_image(options.image), *_PERCENTILES)
    drawn = overlay(image, np.asarray(tifffile.imread(options.label)))
    if not cv2.imwrite(str(options.overlay), drawn[:, :, ::-1]):
        parser.error(f"{options.overlay}: can't be written; give a .png in a folder that exists")
    return 0


def overlay(image: NDArray[np.uint8], label: NDArray[np.integer]) -> NDArray[np.uint8]:
    """The image beside itself with outlines.

    Args:
        image: (H, W, 3) uint8 RGB.
        label: (H, W) label image.

    Returns:
        (H', 2 W', 3) uint8 RGB, enlarged by a whole number where the image is small.
    """
    factor = max(1, _MIN_SIDE // max(label.shape))
    image = image.repeat(factor, 0).repeat(factor, 1)
    label = label.repeat(factor, 0).repeat(factor, 1)
    # Neighbouring ids get hues far apart.
    hues = (np.arange(int(label.max()) + 1) * 67 % 180).astype(np.uint8)
    colours = np.stack((hues, np.full_like(hues, 200), np.full_like(hues, 255)), 1)[None]
    colours = np.asarray(cv2.cvtColor(colours, cv2.COLOR_HSV2RGB), np.uint8)[0]
    rim = find_boundaries(label, mode="inner")
    outlined = image.copy()
    outlined[rim] = colours[label[rim]]
    return np.concatenate((image, outlined), 1)


if __name__ == "__main__":
    sys.exit(main())
