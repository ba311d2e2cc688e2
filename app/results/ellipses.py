"""Area, centre and axes of cells, from their moments; summed exactly, in whole numbers."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .runs import Runs


class Ellipses(NamedTuple):
    """The ellipse that has the same second moments as a cell, of each of N cells."""

    axis_major_length: NDArray[np.float64]
    axis_minor_length: NDArray[np.float64]
    eccentricity: NDArray[np.float64]
    """From 0, a circle, to 1, a line."""
    orientation: NDArray[np.float64]
    """Radians, -pi/2 to pi/2, from the row axis (down) to the major axis, counter-clockwise."""


class Moments:
    """Sums over the pixels of each cell; row and column count from the corner of its box.

    Args:
        boxes: (N, 4) x0, y0, x1, y1 of the cells.
    """

    def __init__(self, boxes: NDArray[np.int64]) -> None:
        self._corners = boxes[:, 1::-1]  # y, x
        # 1, y, x, yy, xx, yx: 64 bits hold them for a cell that fills a square of 70,000 pixels.
        self._sums = np.zeros((6, len(boxes)), np.int64)

    def add(self, runs: Runs) -> None:
        """Add the pixels of some runs."""
        cells, n = runs.cells, runs.lengths
        y, x = runs.y - self._corners[cells, 0], runs.x - self._corners[cells, 1]
        # Sums of k and k * k over k = 0 to n - 1.
        first, second = n * (n - 1) // 2, n * (n - 1) * (2 * n - 1) // 6
        along = n * x + first
        values = (n, n * y, along, n * y * y, n * x * x + 2 * x * first + second, y * along)
        for sums, value in zip(self._sums, values, strict=True):
            np.add.at(sums, cells, value)

    @property
    def area(self) -> NDArray[np.int64]:
        """(N,) pixels."""
        return np.asarray(self._sums[0])

    @property
    def centroid(self) -> NDArray[np.float64]:
        """(N, 2) y, x of the image; the centre of its first pixel is 0, 0."""
        return self._corners + (self._sums[1:3] / self.area).T

    def ellipses(self, pixel_size: tuple[float, float] = (1.0, 1.0)) -> Ellipses:
        """The axes of each cell, as scikit-image defines them.

        Args:
            pixel_size: (y, x), in whose unit lengths are.
        """
        # Python's integers: the products have more than 64 bits, their differences few.
        n, y, x, yy, xx, yx = self._sums.astype(object)
        down, across, both = n * yy - y * y, n * xx - x * x, n * yx - y * x
        square = n * n
        step_y, step_x = pixel_size
        a = _floats(across / square) * step_x**2
        c = _floats(down / square) * step_y**2
        b = _floats(both / square) * (step_x * step_y)
        determinant = _floats((down * across - both * both) / square**2) * (step_x * step_y) ** 2
        larger = (a + c) / 2 + np.hypot((a - c) / 2, b)
        some = larger > 0  # more than one pixel
        smaller = np.divide(determinant, larger, out=np.zeros_like(a), where=some)
        ratio = np.divide(smaller, larger, out=np.ones_like(a), where=some)
        diagonal = np.where(b > 0, math.pi / 4, -math.pi / 4)
        return Ellipses(
            4 * np.sqrt(larger),
            4 * np.sqrt(smaller),
            np.sqrt(np.maximum(1 - ratio, 0)),
            np.where(a == c, diagonal, np.arctan2(2 * b, c - a) / 2),
        )


def _floats(values: NDArray[Any]) -> NDArray[np.float64]:
    return values.astype(np.float64)
