"""Images and label images of any size made small enough to look at, block by block."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from ..files.arrays import Pixels, blocks
from .cells import LabelImage

_BLOCK = 2048  # side of the part of an image that is read at once, pixels


def fit(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """(H, W) of an image that is made at most ``side`` pixels high and wide; never larger."""
    scale = min(1.0, side / max(shape[:2]))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def shrink(image: Pixels, size: tuple[int, int]) -> NDArray[np.uint8]:
    """An image made smaller; each pixel is the mean of what it stands for.

    Args:
        image: (H, W, 3) uint8.
        size: (h, w), at most (H, W).

    Returns:
        (h, w, 3) uint8.
    """
    small = np.empty((*size, 3), np.uint8)
    for (y0, x0, y1, x1), (top, left, bottom, right) in _parts(image.shape, size):
        part = np.ascontiguousarray(image[top:bottom, left:right])
        same = part.shape[:2] == (y1 - y0, x1 - x0)
        small[y0:y1, x0:x1] = (
            part if same else cv2.resize(part, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
        )
    return small


def shrink_labels(
    labels: LabelImage, boxes: NDArray[np.int64], size: tuple[int, int]
) -> NDArray[np.int32]:
    """A label image made smaller; a cell that has no pixel left gets one, in the middle of its box.

    Where there are more cells than pixels, of several in one pixel one remains.

    Args:
        labels: (H, W), 1 to N are the cells.
        boxes: (N, 4) of its cells, as ``find_boxes`` gives them.
        size: (h, w), at most (H, W).

    Returns:
        (h, w) int32.
    """
    small = np.empty(size, np.int32)
    there = np.zeros(len(boxes) + 1, bool)
    scale = np.array(size) / labels.shape[:2]
    rows, columns = map(_middles, size, labels.shape[:2])
    for (y0, x0, y1, x1), (top, left, bottom, right) in _parts(labels.shape, size):
        part = labels[top:bottom, left:right]
        found = part[np.ix_(rows[y0:y1] - top, columns[x0:x1] - left)]
        there[found] = True
        small[y0:y1, x0:x1] = found
    lost = np.flatnonzero(~there[1:])
    x, y = (boxes[lost, :2] + boxes[lost, 2:]).T / 2
    small[(y * scale[0]).astype(int), (x * scale[1]).astype(int)] = lost + 1
    return small


def _middles(small: int, large: int) -> NDArray[np.int64]:
    """The one of many pixels that stands for what becomes one."""
    number = np.arange(small)
    # By a factor below 2 the middle may be of the next one already.
    return np.minimum((2 * number + 1) * large // (2 * small), (number + 1) * large // small - 1)


Part = tuple[int, int, int, int]  # y0, x0, y1, x1


def _parts(shape: tuple[int, ...], size: tuple[int, int]) -> Iterator[tuple[Part, Part]]:
    """The parts of a small image, and of the large one that each stands for, in whole pixels."""
    height, width = shape[:2]
    step = max(1, int(_BLOCK / max(height / size[0], width / size[1])))
    for y0, x0, y1, x1 in blocks(size, step):
        top, bottom = (y * height // size[0] for y in (y0, y1))
        left, right = (x * width // size[1] for x in (x0, x1))
        yield (y0, x0, y1, x1), (top, left, bottom, right)
