"""Boxes to masks: each cell is cut from the full image, segmented alone, and sized back."""

from collections.abc import Iterator
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from .files.arrays import Pixels
from .session import Run, run_batches
from .settings import Method


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
) -> Iterator[NDArray[np.bool_]]:
    """The mask of each box's cell, in order.

    Args:
        image: (H, W, 3) uint8, normalised.
        boxes: (N, 4) whole pixels, as ``round_boxes`` gives them; near to each other where the
            image is read in parts, since the part that holds them all is read.
        run: the segmenter: (B, S, S, 3) uint8 to probabilities (B, S, S) float32 in [0, 1].
        method: crop size and threshold.
        batch: crops that go through the segmenter together, B at most.

    Yields:
        (y1 - y0, x1 - x0) bool, for one box.

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
        yield uncrop(probability, (bottom - top, right - left)) > method.mask_threshold


def uncrop(probability: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """The way back of ``crop``: (S, S) float32 to the (H, W) of a box."""
    return resize(probability, shape)


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
