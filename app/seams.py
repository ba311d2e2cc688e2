"""Cells at the inner edges of windows: each is one box, as if there were no windows.

Where a window's edge cuts a cell, another window usually sees it whole, since windows overlap:
then the cut box goes. A cell larger than the overlap may be whole in no window: then its parts
are joined.
"""

import numpy as np
from numpy.typing import NDArray

from app.nms import nms

# Parts of one cell, seen by two windows, agree in what both windows see by at least this IoU.
_SAME_CELL_IOU = 0.5


def touched_edges(
    boxes_xyxy: NDArray[np.float32],
    places: NDArray[np.int64],
    shape: tuple[int, int],
    margin: float,
) -> NDArray[np.bool_]:
    """Whether each box reaches an inner edge of its window.

    Args:
        boxes_xyxy: (N, 4) float32, pixels of the image.
        places: (N, 4) the window of each box, in the same frame.
        shape: (H, W) of the image; its own border is no inner edge.
        margin: a box this near to an edge reaches it, pixels.

    Returns:
        (N,) bool.
    """
    inner = np.concatenate((places[:, :2] > 0, places[:, 2:] < np.array(shape[::-1])), 1)
    near = np.concatenate(
        (
            boxes_xyxy[:, :2] <= places[:, :2] + margin,
            boxes_xyxy[:, 2:] >= places[:, 2:] - margin,
        ),
        1,
    )
    return np.asarray((inner & near).any(1))


def sees_whole(
    boxes_xyxy: NDArray[np.float32],
    owner: NDArray[np.int64],
    places: NDArray[np.int64],
    shape: tuple[int, int],
    margin: float,
) -> NDArray[np.bool_]:
    """Whether some other window holds the place of each box, away from its own inner edges.

    Args:
        boxes_xyxy: (N, 4) float32, pixels of the image.
        owner: (N,) index of each box's window.
        places: (M, 4) all windows.
        shape: (H, W) of the image.
        margin: as in ``touched_edges``.

    Returns:
        (N,) bool.
    """
    seen = np.zeros(len(boxes_xyxy), bool)
    for index, place in enumerate(places):
        inside = (boxes_xyxy[:, :2] >= place[:2]).all(1) & (boxes_xyxy[:, 2:] <= place[2:]).all(1)
        here = np.broadcast_to(place, boxes_xyxy.shape)
        seen |= inside & ~touched_edges(boxes_xyxy, here, shape, margin) & (owner != index)
    return seen


def join_parts(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    owner: NDArray[np.int64],
    places: NDArray[np.int64],
    iou: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Join the parts of cells that no window sees whole.

    Args:
        boxes_xyxy: (N, 4) float32 cut boxes, pixels of the image.
        scores: (N,) float32.
        owner: (N,) index of each box's window.
        places: (M, 4) all windows.
        iou: as in ``nms``, for boxes of one window.

    Returns:
        Boxes and scores; a joined box spans its parts and has the best's score.
    """
    # First one box a cell in each window, else the union would be that of all its boxes.
    groups = []
    for window in np.unique(owner):
        here = np.flatnonzero(owner == window)
        groups += [[i] for i in here[nms(boxes_xyxy[here], scores[here], iou)].tolist()]

    joined = []
    while groups:
        group = groups.pop()
        mates = [
            other
            for other in groups
            if any(
                owner[i] != owner[j]
                and _same_cell(boxes_xyxy[i], boxes_xyxy[j], places[owner[i]], places[owner[j]])
                for i in group
                for j in other
            )
        ]
        if mates:
            # What has grown may reach further parts: it is looked at again.
            groups = [other for other in groups if other not in mates]
            groups.append(sum(mates, group))
        else:
            joined.append(group)
    spans = [np.r_[boxes_xyxy[g, :2].min(0), boxes_xyxy[g, 2:].max(0)] for g in joined]
    best = [scores[g].max() for g in joined]
    return np.array(spans, np.float32).reshape(-1, 4), np.array(best, np.float32)


def _same_cell(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    place: NDArray[np.int64],
    other_place: NDArray[np.int64],
) -> bool:
    """Whether two boxes (4,) of two windows agree in the strip that both windows see."""
    low = np.maximum(place[:2], other_place[:2])
    high = np.minimum(place[2:], other_place[2:])
    a, b = (
        np.concatenate((np.maximum(box[:2], low), np.minimum(box[2:], high)))
        for box in (first, second)
    )
    overlap = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    areas = [np.clip(box[2:] - box[:2], 0, None).prod() for box in (a, b)]
    union = areas[0] + areas[1] - overlap
    return bool(union > 0 and overlap > _SAME_CELL_IOU * union)
