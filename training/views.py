"""An image in eight views, turned and mirrored, and the boxes that they agree on."""

import dataclasses
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.detect import detect
from app.nms import nms, overlapping_pairs, paired_iou
from app.session import Run
from app.settings import Method

VIEWS = 8
_MIN_SCORE_IN_VIEW = 0.1  # of a box that takes part
Boxes = tuple[NDArray[np.float32], NDArray[np.float32]]
Number = TypeVar("Number", bound=np.number[Any])


def detect_views(
    image: NDArray[np.uint8],
    run: Run,
    method: Method,
    min_score: float,
    magnification: float | None = None,
) -> Boxes:
    """Boxes that eight views of an image agree on.

    Args:
        image: (H, W, 3) uint8, normalised.
        run: the detector, as ``app.detect.detect`` wants it.
        method: every number of detection but the score threshold.
        min_score: of a fused box; one that few views have found scores low.
        magnification: as for ``app.detect.detect``.

    Returns:
        (N, 4) float32 xyxy boxes in pixels of the image, best first; (N,) scores.
    """
    # A view in which a cell is missed counts as 0, so one that hardly sees it must still say so.
    hopeful = dataclasses.replace(method, score_threshold=_MIN_SCORE_IN_VIEW)
    found: list[Boxes] = []
    for view in range(VIEWS):
        seen = turn(image, view)
        boxes, scores = detect(seen, run, hopeful, magnification=magnification)
        found.append((turn_back(boxes, view, image.shape), scores))
    boxes, scores = fuse(found, method.nms_iou)
    good = scores > min_score
    return boxes[good], scores[good]


def fuse(views: list[Boxes], iou: float) -> Boxes:
    """One box for all that overlap a best one: their mean by score, as weighted boxes fusion.

    Args:
        views: (N, 4) boxes and (N,) scores of each, in one frame, one box a cell.
        iou: boxes that overlap by more than this are of one cell.

    Returns:
        (M, 4) float32 boxes; (M,) their scores summed, over the number of views; best first.

    Source: Solovyev et al. 2021 (arXiv 1910.13302); a box joins the best one that it overlaps,
    found at once by suppression, and not the mean of those before it, so that a slide's millions
    take seconds.
    """
    boxes, scores = (np.concatenate(parts) for parts in zip(*views, strict=True))
    best = nms(boxes, scores, iou)
    rank = np.full(len(boxes), len(best))
    rank[best] = np.arange(len(best))
    first, second = overlapping_pairs(boxes, iou)
    pairs = np.concatenate((np.stack((first, second)), np.stack((second, first))), 1)
    joins, to = pairs[:, (rank[pairs[0]] == len(best)) & (rank[pairs[1]] < len(best))]
    # Of several best ones the one that it overlaps most.
    order = np.argsort(paired_iou(boxes[joins], boxes[to]), kind="stable")
    rank[joins[order]] = rank[to[order]]

    weights = scores.astype(np.float64)
    total = np.bincount(rank, weights, len(best))
    columns = [np.bincount(rank, weights * side, len(best)) / total for side in boxes.T]
    fused = np.minimum(total / len(views), 1.0).astype(np.float32)
    order = np.argsort(-fused, kind="stable")
    return np.stack(columns, 1).astype(np.float32)[order], fused[order]


def turn(image: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """One of the eight views of (H, W, 3): 0 to 3 quarter turns to the left, then mirrored."""
    turned = np.rot90(image, view % 4)
    return np.ascontiguousarray(turned[:, ::-1] if view >= 4 else turned)


def turn_back(boxes_xyxy: NDArray[Number], view: int, shape: tuple[int, ...]) -> NDArray[Number]:
    """Boxes (N, 4) from the frame of a view to that of the image of shape (H, W)."""
    height, width = shape[:2] if view % 2 == 0 else shape[1::-1]
    x0, y0, x1, y1 = boxes_xyxy.T
    if view >= 4:
        x0, x1 = width - x1, width - x0
    for _ in range(view % 4):
        # A quarter turn to the right; the upper edge becomes the right one.
        x0, y0, x1, y1 = height - y1, x0, height - y0, x1
        height, width = width, height
    return np.stack((x0, y0, x1, y1), 1)
