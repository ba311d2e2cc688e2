"""Boxes to masks: each cell is cut from the full image, segmented alone, and sized back."""

import cv2
import numpy as np
from numpy.typing import NDArray


def round_boxes(boxes_xyxy: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Boxes to whole pixels, inside the image, at least one pixel wide and high.

    Args:
        boxes_xyxy: (N, 4) float32, pixels of the full image.
        shape: (H, W) of the image.

    Returns:
        (N, 4) int64 x0, y0, x1, y1; x1 and y1 are the first pixels outside.
    """
    height, width = shape
    limits = np.array([width, height])
    rounded = np.rint(boxes_xyxy).astype(np.int64)
    start = np.clip(rounded[:, :2], 0, limits - 1)
    stop = np.clip(rounded[:, 2:], start + 1, limits)
    return np.concatenate((start, stop), 1)


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
    interpolation = cv2.INTER_AREA if max(x1 - x0, y1 - y0) > size else cv2.INTER_LINEAR
    resized = cv2.resize(image[y0:y1, x0:x1], (size, size), interpolation=interpolation)
    return np.asarray(resized, np.uint8)
