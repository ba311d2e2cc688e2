"""Boxes of all windows to one box a cell, in full-image coordinates."""

import math

import numpy as np
from numpy.typing import NDArray

# A coarser grid is slower but never wrong; a finer one would need larger keys than there are.
_LEAST_CELL = 1 / 64
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


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
    # Sorted by the better box: when a pair's turn comes, its better box's fate is settled.
    turn = np.argsort(better, kind="stable")
    stays = [True] * len(order)
    for i, j in zip(better[turn].tolist(), worse[turn].tolist(), strict=True):
        if stays[i]:
            stays[j] = False
    return np.asarray(order[np.array(stays, bool)])


def overlapping_pairs(boxes_xyxy: NDArray[np.float32], iou: float) -> Pairs:
    """All pairs of boxes with an intersection over union above ``iou``.

    Boxes that overlap so much are alike in size and near to each other. So they are sorted into
    classes of size, each twice the one before, and compared only within a class and its
    neighbours, on a grid as coarse as their centres can be apart.

    Args:
        boxes_xyxy: (N, 4) float32.
        iou: in (0, 1].

    Returns:
        Two (P,) int64 arrays of indices, the first of a pair always the smaller.
    """
    boxes = boxes_xyxy.astype(np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(1), 1.0)
    levels = np.ceil(np.log2(sides)).astype(np.int64)
    members = {int(level): np.flatnonzero(levels == level) for level in np.unique(levels)}
    # Along either axis the overlap in one dimension is at least that in two; of two lengths it
    # is above iou only if neither is longer than the other by 1 / iou, and if their middles are
    # apart by less than (1 - iou) / (1 + iou) of the longer.
    reach = math.ceil(math.log2(1 / iou))
    found = [
        _pairs_on_grid(centres, a, members[level + up], 2.0 ** (level + up) * (1 - iou) / (1 + iou))
        for level, a in members.items()
        for up in range(reach + 1)
        if level + up in members
    ]
    first = np.concatenate([pair[0] for pair in found] or [np.empty(0, np.int64)])
    second = np.concatenate([pair[1] for pair in found] or [np.empty(0, np.int64)])
    enough = paired_iou(boxes[first], boxes[second]) > iou
    first, second = first[enough], second[enough]
    return np.minimum(first, second), np.maximum(first, second)


def paired_iou(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes (N, 4) xyxy, pair by pair; 0 where both are empty."""
    low, high = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    overlap = np.clip(high - low, 0, None).prod(1)
    union = sum((box[:, 2:] - box[:, :2]).prod(1) for box in (first, second)) - overlap
    return np.asarray(np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0))


def _pairs_on_grid(
    centres: NDArray[np.float64], a: NDArray[np.int64], b: NDArray[np.int64], cell: float
) -> Pairs:
    """Pairs of one index of ``a`` and one of ``b`` whose centres lie within about one cell.

    ``a`` and ``b`` are the same, and then each pair comes once, or have nothing in common.
    """
    same = a is b
    cell = max(cell, _LEAST_CELL)
    columns, rows = np.floor(centres / cell).astype(np.int64).T
    width = int(np.ptp(columns)) + 3  # a margin on each side keeps neighbours from wrapping round
    key = (rows - rows.min()) * width + columns - columns.min() + 1
    b = b[np.argsort(key[b], kind="stable")]
    found = []
    for step in (y * width + x for y in (-1, 0, 1) for x in (-1, 0, 1)):
        start, stop = (np.searchsorted(key[b], key[a] + step, side) for side in ("left", "right"))
        counts = stop - start
        first = np.repeat(a, counts)
        # 0, 1, ... within each box's run of candidates.
        nth = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
        found.append((first, b[np.repeat(start, counts) + nth]))
    first = np.concatenate([pair[0] for pair in found])
    second = np.concatenate([pair[1] for pair in found])
    once = first < second if same else first != second
    return first[once], second[once]
