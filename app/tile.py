"""Where the detector's windows lie, and the way from an image to a window and back."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from .files.arrays import Pixels
from .settings import Method


def scale_factor(shape: tuple[int, ...], method: Method) -> float:
    """How much an image is enlarged before detection: up to a window, within the limit.

    Args:
        shape: (H, W) of the image.

    Returns:
        At least 1; just 1 for an image that fills a window.
    """
    return max(1.0, min(method.window / max(shape[:2]), method.max_magnification))


def windows(shape: tuple[int, int], method: Method) -> NDArray[np.int64]:
    """The windows that cover an image, row by row: as few as may be, and no larger than needed.

    All start at multiples of the detector's granularity, so that a cell lies alike on the grids
    of all that see it: else two windows would each find some cells that the other doesn't. For
    that one may be larger than ``window`` by less than the granularity.

    Args:
        shape: (H, W) of the image, at detection scale.
        method: the largest window, and the stride that it leaves an overlap with, which is that of
            smaller windows too.

    Returns:
        (N, 4) int64 x0, y0, x1, y1, all inside the image.
    """
    overlap = method.window - method.stride

    def along(length: int) -> list[tuple[int, int]]:
        whole = length // method.granularity * method.granularity
        count = max(1, math.ceil((whole - overlap) / method.stride))
        steps = max(1, math.ceil((whole - overlap) / count / method.granularity))
        starts = range(0, max(1, whole - overlap), steps * method.granularity)
        stops = [*(start + overlap for start in starts[1:]), length]
        return list(zip(starts, stops, strict=True))

    rows, columns = along(shape[0]), along(shape[1])
    return np.array([(x0, y0, x1, y1) for y0, y1 in rows for x0, x1 in columns], np.int64)


def magnify(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Resize (H, W, 3) uint8 by a factor: bilinear, or averaging where it shrinks."""
    if factor == 1.0:
        return image
    height, width = image.shape[:2]
    return _resize(image, max(1, round(height * factor)), max(1, round(width * factor)))


def _resize(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    shrinks = height < image.shape[0] or width < image.shape[1]
    kind = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=kind), np.uint8)


class Magnified:
    """An image at another size, made of any part when it is asked for, alike in every part.

    Sides of ``granularity`` pixels become whole numbers of pixels of the image, so that each window
    is resized from pixels of its own: the factor is rounded to that.

    Args:
        image: (H, W, 3) uint8.
        factor: pixels for each pixel of the image.
        granularity: windows that are asked for start at multiples of it.

    Attributes:
        shape: (H', W', 3).
        factor: what became of it.
    """

    def __init__(self, image: Pixels, factor: float, granularity: int) -> None:
        self.image, self.dtype, self.granularity = image, image.dtype, granularity
        self.step = max(1, round(granularity / factor))  # pixels of the image
        self.factor = granularity / self.step
        height, width = (max(1, side * granularity // self.step) for side in image.shape[:2])
        self.shape = (height, width, 3)

    def __getitem__(self, window: tuple[slice, slice]) -> NDArray[np.uint8]:
        """(h, w, 3) uint8 of rows and columns that start at multiples of the granularity."""
        (y0, y1, up), (x0, x1, left) = (self._source(part) for part in window)
        height, width = self.image.shape[:2]
        there = self.image[y0 : min(y1, height), x0 : min(x1, width)]
        # Past the end the last pixels go on, so that all parts are magnified by the same factor.
        missing = max(0, y1 - height), max(0, x1 - width)
        source = cv2.copyMakeBorder(there, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
        size = ((y1 - y0) // self.step, (x1 - x0) // self.step)
        around = _resize(np.asarray(source, np.uint8), *(n * self.granularity for n in size))
        high, wide = (part.stop - part.start for part in window)
        return np.ascontiguousarray(around[up : up + high, left : left + wide])

    def _source(self, part: slice) -> tuple[int, int, int]:
        """Along one axis: where the needed pixels of the image start and stop, with a step more on
        each side to interpolate from, and how many magnified ones come before the part."""
        start = max(part.start // self.granularity - 1, 0)
        stop = -(-part.stop // self.granularity) + 1
        return start * self.step, stop * self.step, part.start - start * self.granularity


def pad(image: NDArray[np.uint8], method: Method) -> NDArray[np.uint8]:
    """Fill (H, W, 3) uint8 at the bottom and right, up to the detector's granularity."""
    down, right = (-side % method.granularity for side in image.shape[:2])
    if not down and not right:
        return image
    colour = (method.pad_value,) * 3
    return np.asarray(
        cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_CONSTANT, value=colour), np.uint8
    )
