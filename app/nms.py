"""Boxes of all windows to one box a cell, in full-image coordinates."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A coarser grid is slower but never wrong; a finer one would need larger keys than there are.
_MIN_CELL = 1 / 64
_PORTION = 2**17  # pairs that are looked at together; they fit into the processor's cache
Pairs = tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]


def nms(
    boxes_xyxy: NDArray[np.float32], scores: NDArray[np.float32], iou: float
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression: the best box stays, what overlaps it too much goes.

    Time grows with the number of boxes and of overlapping pairs, not with all pairs.

    Args:
        boxes_xyxy: (N, 4) float32, pixels of any one frame.
        scores: (N,) float32.
        iou: boxes that overlap a better one by more than this are dropped, in (0, 1].

    Returns:
        (M,) int64 indices of the boxes that stay, best first; of equal scores, the earlier first.
    """
    order = np.argsort(-scores, kind="stable")
    better, worse = overlapping_pairs(boxes_xyxy[order], iou)
    stays = np.ones(len(order), bool)
    while better.size:
        # Whoever has no better rival left stays, and all its own rivals go. There always is one:
        # the best of all that are left.
        has_better = np.zeros(len(order), bool)
        has_better[worse] = True
        stays[worse[~has_better[better]]] = False
        left = stays[better] & stays[worse]
        better, worse = better[left], worse[left]
    return np.asarray(order[stays])


def overlapping_pairs(boxes_xyxy: NDArray[np.float32], iou: float) -> Pairs:
    """All pairs of boxes with an intersection over union above ``iou``.

    Boxes that overlap so much are alike in size and near to each other. So they are sorted into
    classes of size, each twice the one before, and compared only within a class and its
    neighbours, on a grid as coarse as their centres can be apart.

    Args:
        boxes_xyxy: (N, 4) float32.
        iou: in (0, 1].

    Returns:
        Two (P,) int32 arrays of indices, the first of a pair always the smaller.
    """
    sides = np.maximum((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).max(1), 1.0)
    levels = np.ceil(np.log2(sides)).astype(np.int8)
    members = {int(level): np.flatnonzero(levels == level) for level in np.unique(levels)}
    # Along either axis the overlap in one dimension is at least that in two; of two lengths it
    # is above iou only if neither is longer than the other by 1 / iou, and if their middles are
    # apart by less than (1 - iou) / (1 + iou) of the longer.
    reach = math.ceil(math.log2(1 / iou))
    firsts, seconds = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    for level, up in itertools.product(members, range(reach + 1)):
        if level + up not in members:
            continue
        cell = 2.0 ** (level + up) * (1 - iou) / (1 + iou)
        for first, second in _neighbours(boxes_xyxy, members[level], members[level + up], cell):
            enough = paired_iou(boxes_xyxy[first], boxes_xyxy[second]) > iou
            firsts.append(np.minimum(first, second)[enough].astype(np.int32))
            seconds.append(np.maximum(first, second)[enough].astype(np.int32))
    return np.concatenate(firsts), np.concatenate(seconds)


def paired_iou(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of boxes (N, 4) xyxy, pair by pair; 0 where both are empty."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    overlap = intersection(first, second)
    areas = ((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) for box in (first, second))
    union = sum(areas) - overlap
    return np.asarray(np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0))


def intersection(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Area that boxes (..., 4) xyxy have in common, pair by pair; the two may be broadcast."""
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    sides = np.clip(high - low, 0, None)
    return np.asarray(sides[..., 0] * sides[..., 1])


def _neighbours(
    boxes: NDArray[np.float32], a: NDArray[np.int64], b: NDArray[np.int64], cell: float
) -> Iterator[Pairs]:
    """Pairs of one index of ``a`` and one of ``b`` whose centres lie within about one cell.

    ``a`` and ``b`` are the same, and then each pair comes once, or have nothing in common. The
    pairs come in portions, so that the memory they take does not grow with their number.
    """
    same = a is b
    cell = max(cell, _MIN_CELL)
    left, top, right = boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max()
    width = int((right - left) / cell) + 4  # margins keep neighbours from wrapping round

    def by_key(members: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The boxes in the order of the cells, numbered row by row, that their centres are in."""
        chosen = boxes[members].astype(np.float64)
        columns = np.floor(((chosen[:, 0] + chosen[:, 2]) / 2 - left) / cell).astype(np.int64)
        rows = np.floor(((chosen[:, 1] + chosen[:, 3]) / 2 - top) / cell).astype(np.int64)
        key = rows * width + columns + 1
        order = np.argsort(key, kind="stable")
        return members[order], key[order]

    a, a_keys = by_key(a)
    b, b_keys = (a, a_keys) if same else by_key(b)
    # In a row three cells have keys in sequence. Of pairs among the same boxes, those of a box
    # with an earlier one are left out.
    for row in (0, 1) if same else (-1, 0, 1):
        start = np.searchsorted(b_keys, a_keys + (row * width - 1), "left")
        if same and row == 0:
            start = np.arange(1, len(a) + 1)
        counts = np.searchsorted(b_keys, a_keys + (row * width + 1), "right") - start
        portions = np.cumsum(counts) // _PORTION
        edges = [0, *(np.flatnonzero(np.diff(portions)) + 1).tolist(), len(a)]
        for low, high in itertools.pairwise(edges):
            count = counts[low:high]
            first = np.repeat(a[low:high], count)
            # 0, 1, ... within each box's run of candidates.
            nth = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
            yield first, b[np.repeat(start[low:high], count) + nth]
