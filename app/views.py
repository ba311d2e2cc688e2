"""Test-time augmentation: an image seen in up to eight views, and the boxes that they agree on."""

import dataclasses
import time
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.detect import detect
from app.nms import nms, overlapping_pairs, paired_iou
from app.pixels import Pixels
from app.session import Run
from app.settings import Method

VIEWS = 8
LEAST_IN_VIEW = 0.1  # score of a box that takes part
# The challenge's clock: what an image takes within this time is free.
_SECONDS_FREE = 10.0  # for an image of up to a megapixel, and for each megapixel above
# Of it for detection; the rest is for starting, outlining and writing.
_SHARE = 0.5
# As unlike to the image itself, and to those before, as can be: turned by half, mirrored, the rest.
_ORDER = (0, 2, 5, 7, 1, 3, 4, 6)
Boxes = tuple[NDArray[np.float32], NDArray[np.float32]]
Number = TypeVar("Number", bound=np.number[Any])


def free_seconds(shape: tuple[int, ...]) -> float:
    """Seconds that the detection of an image of (H, W) may take and cost nothing, by the
    organisers' clock (baseline/cellseg_time_eval.py of JunMa11/NeurIPS-CellSeg)."""
    return _SHARE * _SECONDS_FREE * max(1.0, shape[0] * shape[1] / 1e6)


def detect_views(
    image: Pixels, run: Run, method: Method, seconds: float, most_bytes: int | None = None
) -> Boxes:
    """As ``app.detect.detect``, in as many views as fit into a time, at least in one.

    Args:
        image: (H, W, 3) uint8, normalised.
        run: the detector.
        method: every number on the way.
        seconds: no view is begun that would end later, taking as long as the longest before.
        most_bytes: memory that the boxes may take; None for no limit.

    Returns:
        (N, 4) float32 xyxy boxes in pixels of the image, best first; (N,) scores.

    Raises:
        MemoryError: there are so many boxes that they would take more.
    """
    # A view in which a cell is missed counts as 0, so one that hardly sees it must still say so.
    hopeful = dataclasses.replace(method, score_threshold=LEAST_IN_VIEW)
    started = time.monotonic()
    found: list[Boxes] = []
    longest = 0.0
    left = None if most_bytes is None else most_bytes // VIEWS
    for view in _ORDER:
        begun = time.monotonic()
        if found and begun + longest > started + seconds:
            break
        boxes, scores = detect(Turned(image, view), run, hopeful, left)
        found.append((turn_back(boxes, view, image.shape), scores))
        longest = max(longest, time.monotonic() - begun)
    boxes, scores = fuse(found, method.nms_iou)
    good = scores > method.score_threshold
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


class Turned:
    """A view of an image of which any part can be read, as ``turn`` makes it of the whole."""

    def __init__(self, image: Pixels, view: int) -> None:
        self.image, self.view, self.dtype = image, view, image.dtype
        height, width = image.shape[:2]
        self.shape = (*((height, width) if view % 2 == 0 else (width, height)), *image.shape[2:])

    def __getitem__(self, window: tuple[slice, slice]) -> NDArray[np.uint8]:
        (y0, y1, _), (x0, x1, _) = (
            part.indices(side) for part, side in zip(window, self.shape, strict=False)
        )
        box = np.array([[x0, y0, x1, y1]])
        x0, y0, x1, y1 = turn_back(box, self.view, self.image.shape)[0].tolist()
        return turn(self.image[y0:y1, x0:x1], self.view)


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
