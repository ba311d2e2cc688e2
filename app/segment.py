"""Boxes to masks: each cell is cut from the full image, segmented alone, and sized back."""

import math
from collections.abc import Iterator
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from .files.arrays import Pixels, blocks
from .session import Run, run_batches
from .settings import Method

_PART = 1024  # side of what is read, or made, at once of a large box, pixels


def round_boxes(
    boxes_xyxy: NDArray[np.float32], shape: tuple[int, int], margin: float = 0.0
) -> NDArray[np.int64]:
    """Boxes, with a margin, to whole pixels, inside the image, at least one pixel wide and high.

    Args:
        boxes_xyxy: (N, 4) float32, pixels of the full image.
        shape: (H, W) of the image.
        margin: on each side, as a share of the box's width or height.

    Returns:
        (N, 4) int64 x0, y0, x1, y1; x1 and y1 are the first pixels outside.
    """
    height, width = shape
    limits = np.array([width, height])
    start, stop = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    more = margin * (stop - start)
    rounded = np.rint(np.concatenate((start - more, stop + more), 1)).astype(np.int64)
    first = np.clip(rounded[:, :2], 0, limits - 1)
    return np.concatenate((first, np.clip(rounded[:, 2:], first + 1, limits)), 1)


def crop(image: NDArray[np.uint8], box: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """Cut a box and resize it to a square, averaging pixels where it shrinks.

    Args:
        image: (H, W, C) uint8.
        box: (4,) whole pixels, as ``round_boxes`` gives them.
        size: side of the result in pixels.

    Returns:
        (size, size, C) uint8.
    """
    x0, y0, x1, y1 = box
    return resize(image[y0:y1, x0:x1], (size, size))


def segment(
    image: Pixels, boxes: NDArray[np.int64], run: Run, method: Method, batch: int
) -> Iterator[tuple[NDArray[np.bool_], float]]:
    """The mask of each box's cell, and how sure the segmenter is of it, in order.

    Args:
        image: (H, W, 3) uint8, normalised.
        boxes: (N, 4) whole pixels, as ``round_boxes`` gives them; near to each other where the
            image is read in parts, since the part that holds them all is read.
        run: the segmenter: (B, S, S, 3) uint8 to probabilities (B, S, S) float32 in [0, 1].
        method: crop size and threshold.
        batch: crops that go through the segmenter together, B at most.

    Yields:
        For one box (y1 - y0, x1 - x0) bool, and its ``confidence``.

    Raises:
        MemoryError: not even one crop fits.
    """
    if not len(boxes):
        return
    x0, y0 = boxes[:, :2].min(0)
    x1, y1 = boxes[:, 2:].max(0)
    region = image[y0:y1, x0:x1]
    boxes = boxes - np.array([x0, y0, x0, y0])

    def load(box: NDArray[np.int64]) -> NDArray[np.uint8]:
        return crop(region, box, method.crop_size)

    for (left, top, right, bottom), (probability,) in run_batches(run, list(boxes), load, batch):
        mask = uncrop(probability, (bottom - top, right - left)) > method.mask_threshold
        yield mask, confidence(probability, method.mask_threshold)


def segment_large(
    image: Pixels, boxes: NDArray[np.int64], run: Run, method: Method, batch: int
) -> Iterator[tuple["LargeMask", float]]:
    """As ``segment``, for boxes of any size and anywhere: each is read part by part."""

    def load(box: NDArray[np.int64]) -> NDArray[np.uint8]:
        return crop_large(image, box, method.crop_size)

    for (x0, y0, x1, y1), (probability,) in run_batches(run, list(boxes), load, batch):
        mask = LargeMask(probability, (int(y1 - y0), int(x1 - x0)), method.mask_threshold)
        yield mask, confidence(probability, method.mask_threshold)


def confidence(probability: NDArray[np.float32], threshold: float) -> float:
    """How sure the segmenter is of a cell: the mean probability of the crop's pixels in its mask.

    Args:
        probability: (S, S) float32, 0-1.
        threshold: what is above it is the cell.

    Returns:
        From the threshold to 1; 0 where there is no mask.
    """
    inside = (probability > threshold).view(np.uint8)
    return float(cv2.mean(probability, inside)[0])


def crop_large(image: Pixels, box: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """As ``crop``, but the image is read part by part: memory doesn't grow with the box."""
    x0, y0, x1, y1 = box.tolist()
    height, width = min(size, y1 - y0), min(size, x1 - x0)
    small = np.empty((height, width, image.shape[2]), np.uint8)
    # Where the pixels of the result begin and end, mostly within one of the image's.
    ys, xs = np.linspace(y0, y1, height + 1), np.linspace(x0, x1, width + 1)
    high, wide = (max(1, int(_PART / (edges[1] - edges[0]))) for edges in (ys, xs))
    for top in range(0, height, high):
        rows = ys[top : top + high + 1]
        y = int(rows[0])
        for left in range(0, width, wide):
            columns = xs[left : left + wide + 1]
            x = int(columns[0])
            part = image[y : math.ceil(rows[-1]), x : math.ceil(columns[-1])]
            means = _means(_means(part, rows - y).swapaxes(0, 1), columns - x).swapaxes(0, 1)
            small[top : top + high, left : left + wide] = np.rint(means)
    return resize(small, (size, size))


def _means(array: NDArray[Any], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means along the first of three axes between each two edges, which may lie within a pixel."""
    sums = np.zeros((len(array) + 1, *array.shape[1:]))
    np.cumsum(array, 0, out=sums[1:])
    before = edges.astype(np.int64)
    within = (edges - before)[:, None, None]
    up_to = sums[before] * (1 - within) + sums[np.minimum(before + 1, len(array))] * within
    return np.asarray(np.diff(up_to, axis=0) / np.diff(edges)[:, None, None])


def uncrop(probability: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """The way back of ``crop``: (S, S) float32 to the (H, W) of a box."""
    return resize(probability, shape)


class LargeMask:
    """The mask of a large box's cell: any part is made when it is asked for, alike in every part.

    Args:
        probability: (S, S) float32, of the box's crop.
        shape: (H, W) of the box.
        threshold: what is above it is the cell.
    """

    def __init__(
        self, probability: NDArray[np.float32], shape: tuple[int, int], threshold: float
    ) -> None:
        height, width = (min(*sides) for sides in zip(probability.shape, shape, strict=True))
        self.probability = resize(probability, (height, width))  # the axes that shrink
        self.shape, self.threshold = shape, threshold

    def __getitem__(self, window: tuple[slice, slice]) -> NDArray[np.bool_]:
        """(h, w) bool of some rows and columns of the box: what ``uncrop`` has there."""
        made = self.probability
        for axis, part in enumerate(window):
            before, after, share = _between(part, made.shape[axis], self.shape[axis])
            first = made.take(before, axis)
            made = first + (made.take(after, axis) - first) * np.expand_dims(share, 1 - axis)
        return np.asarray(made > self.threshold)

    def area(self) -> int:
        """Pixels of the cell."""
        parts = (self[y0:y1, x0:x1] for y0, x0, y1, x1 in blocks(self.shape, _PART))
        return sum(int(np.count_nonzero(part)) for part in parts)


def _between(
    part: slice, count: int, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Along an axis resized from ``count`` to ``length``: the pixels that each of a part lies
    between, and how far it is on its way from the one to the other, 0-1."""
    middles = np.arange(*part.indices(length)) + 0.5
    places = np.clip(middles * (count / length) - 0.5, 0, count - 1)
    before = places.astype(np.int64)
    return before, np.minimum(before + 1, count - 1), (places - before).astype(np.float32)


Array = TypeVar("Array", NDArray[np.uint8], NDArray[np.float32])


def resize(array: Array, shape: tuple[int, int]) -> Array:
    """Resize (H, W) or (H, W, C) to another (H, W), bilinear; an axis that shrinks is averaged."""
    height, width = shape
    resized: Any = array
    if array.shape[0] > height or array.shape[1] > width:
        # OpenCV averages only where no axis grows: what shrinks comes first.
        smaller = (min(width, array.shape[1]), min(height, array.shape[0]))
        resized = cv2.resize(resized, smaller, interpolation=cv2.INTER_AREA)
    # A part of an image that has the size already is copied by this, never handed out itself.
    if resized is array or resized.shape[:2] != shape:
        resized = cv2.resize(resized, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized  # type: ignore[no-any-return]
