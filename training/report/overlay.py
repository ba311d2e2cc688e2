"""Draw the outlines of a label image over its image, to look at.

python -m training.report.overlay IMAGE LABEL OVERLAY.png
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from app.files.open import read_image
from app.normalise import normalise
from training.command import command_parser, user_errors
from training.errors import InputError
from training.metric import read_labels

_PERCENTILES = (1.0, 99.0)
_MIN_SIDE = 768  # smaller images are enlarged, so that an outline is thinner than a cell


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = command_parser(__doc__)
    for name in ("image", "label", "overlay"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args(arguments)
    with user_errors(parser):
        image = read_picture(options.image)
        drawn = overlay(image, read_labels(options.label, image.shape[:2]))
        write_picture(options.overlay, drawn)
    return 0


def read_picture(path: Path) -> NDArray[np.uint8]:
    """An image file as people see it, (H, W, 3) uint8 RGB.

    Raises:
        ImageError: it can't be read.
    """
    return normalise(read_image(path), *_PERCENTILES)


def write_picture(path: Path, picture: NDArray[np.uint8], options: Sequence[int] = ()) -> None:
    """Write (H, W, 3) uint8 RGB as PNG or JPEG, with options of ``cv2.imwrite``.

    Raises:
        InputError: it can't be written.
    """
    wanted = "can't be written; give a .png or .jpg in a folder that exists"
    try:
        if cv2.imwrite(str(path), picture[:, :, ::-1], options):
            return
    except cv2.error as error:  # the suffix is of no picture
        raise InputError(f"{path}: {wanted}") from error
    raise InputError(f"{path}: {wanted}")


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
