"""Masks to one label image."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def paste(
    masks: Iterable[NDArray[np.bool_]], boxes: NDArray[np.int64], shape: tuple[int, int]
) -> NDArray[np.uint32]:
    """Write each mask into its own box with its own id; a pixel goes to the first that wants it.

    Args:
        masks: N arrays (y1 - y0, x1 - x0) bool, best first.
        boxes: (N, 4) whole pixels x0, y0, x1, y1, inside the image.
        shape: (H, W) of the image.

    Returns:
        (H, W) uint32 label image; mask number i has id i + 1.
    """
    label = np.zeros(shape, np.uint32)
    for number, (mask, (x0, y0, x1, y1)) in enumerate(zip(masks, boxes, strict=True), start=1):
        place = label[y0:y1, x0:x1]
        place[mask & (place == 0)] = number
    return label


def relabel(
    label: NDArray[np.uint32], count: int, least_area: int
) -> NDArray[np.uint16] | NDArray[np.uint32]:
    """Drop what is too small and number the rest 1 to N, in the order of their ids.

    Args:
        label: (H, W) uint32 label image.
        count: highest id there may be.
        least_area: instances of fewer pixels become background.

    Returns:
        (H, W) label image without gaps, uint16 where N fits and uint32 above.
    """
    areas = np.bincount(label.ravel(), minlength=count + 1)
    stays = areas >= max(least_area, 1)
    stays[0] = False
    numbers = np.where(stays, np.cumsum(stays), 0)
    if numbers.max() <= np.iinfo(np.uint16).max:
        return numbers.astype(np.uint16)[label]
    return numbers.astype(np.uint32)[label]
