"""How long the border of each cell is."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

MARGIN = 2  # pixels around a part: by them its border is known, and what continues it
# How far the border runs through a pixel of it: straight or obliquely, by how many of the border's
# other pixels it has at its corners (row) and sides (column). Source: Benkrid and Crookes, "Design
# and FPGA implementation of a perimeter estimator"; scikit-image has the same numbers.
_STRAIGHT = np.zeros((5, 5), np.int64)  # in twelfths, by corners and sides
_STRAIGHT[[0, 0, 1, 1, 2, 2], [2, 3, 2, 3, 2, 3]] = 12
_STRAIGHT[[1, 2], 1] = 6
_OBLIQUE = np.zeros((5, 5), np.int64)  # in halves
_OBLIQUE[[2, 3], [0, 1]] = 2
_OBLIQUE[[1, 2], 1] = 1


class Perimeters:
    """Counts the steps along the borders of N cells, those of holes included.

    Args:
        count: of the cells, N.
    """

    def __init__(self, count: int) -> None:
        # Steps to the side and down, in twelfths; oblique ones, in halves.
        self._steps = np.zeros((3, count), np.int64)

    def add(self, part: NDArray[Any]) -> None:
        """Add the border pixels of a part of a label image.

        Args:
            part: (h + 4, w + 4) labels; the margin of 2 pixels, 0 outside of the image, is only
                looked at.
        """
        own = part[1:-1, 1:-1]
        others = part[:-2, 1:-1], part[2:, 1:-1], part[1:-1, :-2], part[1:-1, 2:]
        is_inner = np.logical_and.reduce([other == own for other in others])
        border = np.where(is_inner, 0, own)
        width = border.shape[1]
        y, x = np.nonzero(border[1:-1, 1:-1])
        place = (y + 1) * width + x + 1
        flat = border.ravel()
        label = flat[place]

        def neighbours(*steps: int) -> NDArray[np.int64]:
            return np.asarray(np.sum([flat[place + step] == label for step in steps], 0))

        across, down = neighbours(-1, 1), neighbours(-width, width)
        corners = neighbours(-width - 1, -width + 1, width - 1, width + 1)
        sides = across + down
        straight = _STRAIGHT[corners, sides]
        across = straight * across // np.maximum(sides, 1)
        values = across, straight - across, _OBLIQUE[corners, sides]
        cells = label.astype(np.int64) - 1
        for steps, value in zip(self._steps, values, strict=True):
            np.add.at(steps, cells, value)

    def lengths(self, pixel_size: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.float64]:
        """(N,) perimeters.

        Args:
            pixel_size: (y, x), in whose unit they are.
        """
        across, down, oblique = self._steps
        step_y, step_x = pixel_size
        straight = (across * step_x + down * step_y) / 12
        return np.asarray(straight + oblique / 2 * math.hypot(step_y, step_x), np.float64)
