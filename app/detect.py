"""An image to one box a cell: windows, the detector, suppression, seams."""

import logging

import numpy as np
from numpy.typing import NDArray

from app.nms import nms
from app.pixels import Pixels
from app.seams import inside_whole, join_parts, sees_whole, slivers, touched_edges
from app.session import Run
from app.settings import Method
from app.tile import enlarge, pad, scale_factor, windows

logger = logging.getLogger(__name__)


def detect(
    image: Pixels, run: Run, method: Method
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Find every cell.

    Args:
        image: (H, W, 3) uint8, normalised.
        run: the detector: (1, H', W', 3) uint8 to boxes (1, A, 4) float32 xyxy in pixels of its
            input and scores (1, A) float32 in [0, 1].
        method: window, stride, thresholds.

    Returns:
        (N, 4) float32 xyxy boxes in pixels of the image, inside it, best first; (N,) scores.
    """
    factor = scale_factor(image.shape, method)
    # What is enlarged fits into one window; anything larger is read window by window.
    enlarged = image if factor == 1.0 else enlarge(image[:, :], factor)
    height, width = enlarged.shape[:2]
    places = windows((height, width), method)
    found = [_detect_window(enlarged, place, run, method) for place in places]
    boxes = np.concatenate([b for b, _ in found])
    scores = np.concatenate([s for _, s in found])
    owner = np.repeat(np.arange(len(places)), [len(s) for _, s in found])

    margin = method.seam_margin
    cut = touched_edges(boxes, places[owner], (height, width), margin)
    parts = np.flatnonzero(cut)
    parts = parts[~sees_whole(boxes[parts], places, (height, width), margin)]
    parts = parts[~slivers(boxes[parts], places[owner[parts]], (height, width), margin)]
    whole = boxes[~cut], owner[~cut]
    parts = parts[~inside_whole(boxes[parts], owner[parts], *whole, places, margin)]
    joined, joined_scores = join_parts(
        boxes[parts], scores[parts], owner[parts], places, method.nms_iou
    )
    boxes = np.concatenate((boxes[~cut], joined))
    scores = np.concatenate((scores[~cut], joined_scores))
    best = nms(boxes, scores, method.nms_iou)
    if len(places) > 1:
        _warn_of_large(boxes[best], method)

    ratio = np.array([width / image.shape[1], height / image.shape[0]] * 2)
    return (boxes[best] / ratio).astype(np.float32), scores[best]


def _warn_of_large(boxes: NDArray[np.float32], method: Method) -> None:
    """Say which cells may have been put together from parts, or be parts, by their size."""
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0)
    for limit, name, effect in (
        (method.window, "a window", "are found in parts that may not have been joined"),
        (method.window - method.stride, "the windows' overlap", "may be joined from parts"),
    ):
        if large := int((sides > limit).sum()):
            size = f"{large} cells, the largest of {sides.max():.0f} pixels"
            logger.warning("%s, are larger than %s (%d) and %s", size, name, limit, effect)
            return


def _detect_window(
    image: Pixels, place: NDArray[np.int64], run: Run, method: Method
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The boxes of one window above the score threshold, in pixels of the enlarged image."""
    x0, y0, x1, y1 = place
    batch = np.ascontiguousarray(pad(image[y0:y1, x0:x1], method))[None]
    boxes, scores = (output[0] for output in run(batch))
    good = scores > method.score_threshold
    inside = np.clip(boxes[good], 0, np.array([x1 - x0, y1 - y0] * 2, np.float32))
    inside = (inside + np.array([x0, y0, x0, y0])).astype(np.float32)
    solid = (inside[:, 2:] > inside[:, :2]).all(1)
    return inside[solid], scores[good][solid]
