"""Cells at the inner edges of windows: each is one box, as if there were no windows.

Where a window's edge cuts a cell, another window usually sees it whole, since windows overlap:
then the cut box goes. A cell larger than the overlap may be whole in no window: then its parts
are joined. No detector is exact, so two windows' views of a cell may differ by the margin.
"""

import numpy as np
from numpy.typing import NDArray

from .nms import intersection, nms, paired_iou
from .settings import Method

# Parts of one cell, seen by two windows, agree in what both windows see by more than this IoU.
_SAME_CELL_IOU = 0.5
# A part is of a whole cell if more than this share of it lies inside that cell's box.
_INSIDE_SHARE = 0.5


def mend_seams(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    owner: NDArray[np.int64],
    places: NDArray[np.int64],
    shape: tuple[int, int],
    method: Method,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Drop or join the boxes that window edges cut, so that windows leave no trace.

    Args:
        boxes_xyxy: (N, 4) float32 boxes of all windows, window by window, pixels of the image.
        scores: (N,) float32.
        owner: (N,) index of each box's window, ascending.
        places: (M, 4) all windows.
        shape: (H, W) of the image.
        method: margin and IoU.

    Returns:
        Boxes and scores: those that nothing cuts, then those that were joined from parts.
    """
    margin = method.seam_margin
    cut = touched_edges(boxes_xyxy, places[owner], shape, margin)
    whole = boxes_xyxy[~cut], owner[~cut]
    parts = np.flatnonzero(cut)
    parts = parts[~sees_whole(boxes_xyxy[parts], places, shape, margin)]
    parts = parts[~slivers(boxes_xyxy[parts], places[owner[parts]], shape, margin)]
    parts = parts[~inside_whole(boxes_xyxy[parts], owner[parts], *whole, places, margin)]
    joined, joined_scores = join_parts(
        boxes_xyxy[parts], scores[parts], owner[parts], places, method.nms_iou
    )
    return np.concatenate((whole[0], joined)), np.concatenate((scores[~cut], joined_scores))


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


def slivers(
    boxes_xyxy: NDArray[np.float32],
    places: NDArray[np.int64],
    shape: tuple[int, int],
    margin: float,
) -> NDArray[np.bool_]:
    """Whether each box lies within twice the margin of one inner edge of its window.

    The window beyond that edge sees the same and more of the cell.

    Args:
        boxes_xyxy: (N, 4) float32, pixels of the image.
        places: (N, 4) the window of each box, in the same frame.
        shape: (H, W) of the image; its own border is no inner edge.
        margin: as in ``touched_edges``.

    Returns:
        (N,) bool.
    """
    # It is the box's far side that has to reach the edge.
    far_sides = boxes_xyxy[:, [2, 3, 0, 1]]
    return touched_edges(far_sides, places, shape, 2 * margin)


def sees_whole(
    boxes_xyxy: NDArray[np.float32],
    places: NDArray[np.int64],
    shape: tuple[int, int],
    margin: float,
) -> NDArray[np.bool_]:
    """Whether some window holds the place of each box, well away from its own inner edges.

    Well away is twice the margin: else, where their views differ, each of two windows could
    leave a cell to the other.

    Args:
        boxes_xyxy: (N, 4) float32, pixels of the image.
        places: (M, 4) all windows, in rows and columns.
        shape: (H, W) of the image.
        margin: as in ``touched_edges``.

    Returns:
        (N,) bool.
    """
    seen = np.ones(len(boxes_xyxy), bool)
    for axis, length in enumerate(shape[::-1]):
        start, stop = np.unique(places[:, axis]), np.unique(places[:, axis + 2])
        low = np.where(start > 0, start + 2 * margin, -np.inf)
        high = np.where(stop < length, stop - 2 * margin, np.inf)
        within = (boxes_xyxy[:, [axis]] > low) & (boxes_xyxy[:, [axis + 2]] < high)
        seen &= within.any(1)
    return seen


def inside_whole(
    boxes_xyxy: NDArray[np.float32],
    owner: NDArray[np.int64],
    whole_xyxy: NDArray[np.float32],
    whole_owner: NDArray[np.int64],
    places: NDArray[np.int64],
    margin: float,
) -> NDArray[np.bool_]:
    """Whether each cut box is a part of a cell that another window has found whole.

    Args:
        boxes_xyxy: (N, 4) float32 cut boxes, pixels of the image.
        owner: (N,) index of each box's window.
        whole_xyxy: (M, 4) float32 boxes that no window edge cuts, window by window.
        whole_owner: (M,) index of each one's window, ascending.
        places: (K, 4) all windows.
        margin: whole boxes may be this much too small, pixels.

    Returns:
        (N,) bool.
    """
    inside = np.zeros(len(boxes_xyxy), bool)
    by_window = np.split(whole_xyxy, np.searchsorted(whole_owner, np.arange(1, len(places))))
    for window in np.unique(owner):
        others = np.flatnonzero(intersection(places[window], places))
        around = np.concatenate([by_window[n] for n in others if n != window])
        around = around + np.array([-margin, -margin, margin, margin])
        for i in np.flatnonzero(owner == window):
            box = boxes_xyxy[i]
            part = _INSIDE_SHARE * (box[2:] - box[:2]).prod()
            inside[i] = (intersection(box, around) > part).any()
    return inside


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
    rest = np.empty(0, np.int64)
    for window in np.unique(owner):
        here = np.flatnonzero(owner == window)
        rest = np.append(rest, here[nms(boxes_xyxy[here], scores[here], iou)])

    joined = []
    while rest.size:
        group = new = rest[:1]
        rest = rest[1:]
        while new.size:  # what has joined may reach further parts
            mates = np.zeros(rest.size, bool)
            for i in new:
                views = boxes_xyxy[rest], places[owner[rest]]
                agree = _same_cell(boxes_xyxy[i], places[owner[i]], *views)
                mates |= agree & (owner[rest] != owner[i])
            new, rest = rest[mates], rest[~mates]
            group = np.append(group, new)
        joined.append(group)
    spans = [np.r_[boxes_xyxy[g, :2].min(0), boxes_xyxy[g, 2:].max(0)] for g in joined]
    best = [scores[g].max() for g in joined]
    return np.array(spans, np.float32).reshape(-1, 4), np.array(best, np.float32)


def _same_cell(
    box: NDArray[np.float32],
    place: NDArray[np.int64],
    others: NDArray[np.float32],
    other_places: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Whether a box (4,) of one window agrees with others (N, 4), in what both windows see."""
    low = np.maximum(place[:2], other_places[:, :2])
    high = np.minimum(place[2:], other_places[:, 2:])
    first, second = (
        np.concatenate((np.maximum(b[..., :2], low), np.minimum(b[..., 2:], high)), 1)
        for b in (box, others)
    )
    there = (first[:, :2] < first[:, 2:]).all(1) & (second[:, :2] < second[:, 2:]).all(1)
    return np.asarray(there & (paired_iou(first, second) > _SAME_CELL_IOU))
