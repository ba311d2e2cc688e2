"""Cells at the inner edges of windows: each is one box, as if there were no windows.

Where a window's edge cuts a cell, another window usually sees it whole, since windows overlap:
then the cut box goes. A cell larger than the overlap may be whole in no window: then its parts
are joined.
"""

import numpy as np
from numpy.typing import NDArray

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


def drop_cut(
    boxes_xyxy: NDArray[np.float32],
    owner: NDArray[np.int64],
    cut: NDArray[np.bool_],
    places: NDArray[np.int64],
    shape: tuple[int, int],
    margin: float,
) -> NDArray[np.bool_]:
    """Which boxes stay: all but those cut in a place that another window sees whole.

    Args:
        boxes_xyxy: (N, 4) float32, pixels of the image.
        owner: (N,) index of each box's window.
        cut: (N,) whether the box reaches an inner edge of its window.
        places: (M, 4) all windows.
        shape: (H, W) of the image.
        margin: as in ``touched_edges``.
    """
    stays = np.ones(len(boxes_xyxy), bool)
    for index, place in enumerate(places):
        inside = (boxes_xyxy[:, :2] >= place[:2]).all(1) & (boxes_xyxy[:, 2:] <= place[2:]).all(1)
        here = np.broadcast_to(place, boxes_xyxy.shape)
        whole = inside & ~touched_edges(boxes_xyxy, here, shape, margin)
        stays &= ~(cut & whole & (owner != index))
    return stays


def join_cut(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    owner: NDArray[np.int64],
    cut: NDArray[np.bool_],
    places: NDArray[np.int64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Join the parts of cells that no window sees whole.

    Args:
        boxes_xyxy: (N, 4) float32, pixels of the image, best first.
        scores: (N,) float32.
        owner: (N,) index of each box's window.
        cut: (N,) whether the box reaches an inner edge of its window.
        places: (M, 4) all windows.

    Returns:
        Boxes and scores, best first; a joined box spans its parts and has the best's score.
    """
    boxes = boxes_xyxy.copy()
    gone = np.zeros(len(boxes), bool)
    parts = [[int(i)] for i in np.flatnonzero(cut)]
    while parts:
        group = parts.pop()
        mates = [
            other
            for other in parts
            if any(
                _same_cell(boxes_xyxy[i], boxes_xyxy[j], places[owner[i]], places[owner[j]])
                for i in group
                for j in other
                if owner[i] != owner[j]
            )
        ]
        if mates:
            # The joined group may reach further parts: it is looked at again.
            parts = [p for p in parts if p not in mates]
            parts.append(sum(mates, group))
            continue
        first = min(group)
        boxes[first, :2] = boxes_xyxy[group, :2].min(0)
        boxes[first, 2:] = boxes_xyxy[group, 2:].max(0)
        gone[[i for i in group if i != first]] = True
    return boxes[~gone], scores[~gone]


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
