"""The outlines of cells, on the edges of their pixels."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .cells import LabelImage, masks

Ring = NDArray[np.int64]
"""(M, 2) x, y of the corners in turn, whole numbers; the last is the first again."""
Outline = list[list[Ring]]
"""Each part of a cell: the ring around it, then those of its holes."""


def outlines(labels: LabelImage, boxes: NDArray[np.int64]) -> Iterator[tuple[int, Outline]]:
    """The outline of each cell, in the order of ``masks``.

    Args:
        labels: (H, W), 1 to N are the cells.
        boxes: (N, 4) of its cells, as ``find_boxes`` gives them.

    Yields:
        The cell's index i (its label is i + 1), and its outline in pixels of the label image.
    """
    for cell, mask in masks(labels, boxes):
        yield cell, trace(mask, *boxes[cell, :2].tolist())


def trace(mask: NDArray[np.bool_], left: int = 0, top: int = 0) -> Outline:
    """The outline of a mask: polygons that cover its pixels, whole, and nothing else.

    Pixel (x, y) covers x to x + 1 and y to y + 1. A part is what hangs together by sides of pixels,
    so parts may touch at corners. All polygons are valid by the rules of OGC: no ring touches
    itself; rings touch each other at most at corners.

    Args:
        mask: (h, w), with one pixel at least.
        left, top: where its first pixel is.

    Returns:
        The parts. Rings around parts and holes run in opposite directions.
    """
    # OpenCV joins pixels at corners, too, so what it is given is the ground around the cell: the
    # cell's parts are then the ground's holes. Its contours run through the middles of pixels of
    # the ground; of an enlarged picture the middles of four pixels round to one corner.
    ground = np.ones((mask.shape[0] + 2, mask.shape[1] + 2), np.uint8)
    np.logical_not(mask, out=ground[1:-1, 1:-1])
    doubled = cv2.resize(ground, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, tree = cv2.findContours(doubled, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    offset = np.array([left - 1, top - 1])  # of the ground's margin
    parents = tree[0, :, 3].tolist()
    rings = [
        _split(_corners(contour[:, 0], offset)) if parent >= 0 else []
        for contour, parent in zip(contours, parents, strict=True)
    ]
    # Outermost is the ground itself, in it are parts, in these holes, in these parts again.
    depths = [_depth(number, parents) for number in range(len(parents))]
    parts = {number: rings[number] for number, depth in enumerate(depths) if depth % 2}
    for number, depth in enumerate(depths):
        if depth and not depth % 2:
            parts[parents[number]] += rings[number]
    return list(parts.values())


def _depth(number: int, parents: list[int]) -> int:
    """How many contours are around one."""
    depth = 0
    while (number := parents[number]) >= 0:
        depth += 1
    return depth


def _corners(contour: NDArray[Any], offset: NDArray[np.int64]) -> Ring:
    """The corners between the pixels of a contour that runs through their middles.

    Args:
        contour: (M, 2) x, y in a picture that was enlarged twice.
        offset: x, y of that picture.
    """
    points = ((contour + 1) >> 1) + offset
    closed = np.concatenate((points, points[:1]))
    # OpenCV leaves out what is within a side, but around a corner it goes by several pixels.
    is_new = np.ones(len(closed), bool)
    is_new[1:] = (closed[1:] != closed[:-1]).any(1)
    return closed[is_new]


def _split(ring: Ring) -> list[Ring]:
    """Cut a ring wherever it comes back to a corner; what was around it is the first."""
    keys = (ring[1:, 0] << 32 | ring[1:, 1]).tolist()
    if len(set(keys)) == len(keys):
        return [ring]
    places: dict[tuple[int, int], int] = {}
    path: list[tuple[int, int]] = []
    loops = []
    for corner in map(tuple, ring.tolist()):
        start = places.setdefault(corner, len(path))
        if start < len(path):
            loops.append([*path[start:], corner])
            for passed in path[start + 1 :]:
                del places[passed]
            del path[start + 1 :]
        else:
            path.append(corner)
    return sorted((np.array(loop, np.int64) for loop in loops), key=_area, reverse=True)


def _area(ring: Ring) -> int:
    """Twice what is inside a ring, square pixels."""
    (x, y), (next_x, next_y) = ring[:-1].T, ring[1:].T
    return abs(int((x * next_y - next_x * y).sum()))
