"""The cells of a label image of any size, one by one: where each is, and its pixels."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..files.arrays import blocks

_BLOCK = 2048  # side of the part of a label image that is looked at at once, pixels


class LabelImage(Protocol):
    """A label image, as an array or one that is read in parts: 0 is background, 1 to N cells."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W)."""

    def __getitem__(self, window: tuple[slice, slice], /) -> NDArray[Any]:
        """(h, w) unsigned integers of some rows and columns."""


def find_boxes(labels: LabelImage, count: int) -> NDArray[np.int64]:
    """The smallest box around each cell.

    Args:
        labels: (H, W), 1 to ``count`` are the cells, each with one pixel at least.
        count: of the cells, N.

    Returns:
        (N, 4) x0, y0, x1, y1, whole pixels; x1 and y1 are the first pixels outside. Row i is that
        of cell i + 1.
    """
    first = np.full((count + 1, 2), np.iinfo(np.int64).max)
    last = np.zeros((count + 1, 2), np.int64)
    for y0, x0, y1, x1 in blocks(labels.shape, _BLOCK):
        part = labels[y0:y1, x0:x1]
        # Of each run of equal pixels in a row the two ends tell all.
        starts = np.ones(part.shape, bool)
        starts[:, 1:] = part[:, 1:] != part[:, :-1]
        ends = np.ones(part.shape, bool)
        ends[:, :-1] = starts[:, 1:]
        for edges, best, reduce in ((starts, first, np.minimum), (ends, last, np.maximum)):
            y, x = np.nonzero(edges)
            reduce.at(best, part[y, x], np.stack((x + x0, y + y0), 1))
    return np.concatenate((first, last + 1), 1)[1:]


def masks(labels: LabelImage, boxes: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """The pixels of each cell, in an order that reads near ones together.

    Args:
        labels: (H, W).
        boxes: (N, 4) of its cells, as ``find_boxes`` gives them.

    Yields:
        The cell's index i (its label is i + 1), and (y1 - y0, x1 - x0) bool of its box.
    """
    columns = -(-labels.shape[1] // _BLOCK)
    block = boxes[:, 1] // _BLOCK * columns + boxes[:, 0] // _BLOCK
    order = np.argsort(block, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(block[order])) + 1):
        if not len(members):
            continue
        # What reaches far out of the block is read by itself, the others as one region.
        near = np.asarray((boxes[members, 2:] - boxes[members, :2] <= _BLOCK).all(1))
        region = None
        if near.any():
            left, top = boxes[members[near], :2].min(0)
            right, bottom = boxes[members[near], 2:].max(0)
            region = labels[top:bottom, left:right]
        for cell, is_near in zip(members.tolist(), near.tolist(), strict=True):
            x0, y0, x1, y1 = boxes[cell].tolist()
            if is_near and region is not None:
                part = region[y0 - top : y1 - top, x0 - left : x1 - left]
            else:
                part = labels[y0:y1, x0:x1]
            yield cell, part == cell + 1
