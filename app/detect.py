"""An image to one box a cell: windows, the detector, suppression, seams."""

import logging
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .files.arrays import Pixels, size_text
from .ground import Ground, Parts
from .nms import nms
from .seams import mend_seams
from .session import Run, run_batches
from .settings import Method
from .stopwatch import Progress, untold
from .tile import Magnified, magnify, pad, scale_factor, windows

logger = logging.getLogger(__name__)

# (N, 4) float32 xyxy and (N,) float32 scores.
Boxes = tuple[NDArray[np.float32], NDArray[np.float32]]

_NOTHING = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
# Memory that suppression takes for each box of the detector: python -m benchmarks.memory.
BOX_BYTES = 300


def detect(
    image: Pixels,
    run: Run,
    method: Method,
    max_bytes: int | None = None,
    magnification: float | None = None,
    batch: int = 1,
    progress: Progress = untold,
    ground: Ground | None = None,
    warn: bool = True,
) -> Boxes:
    """Find every cell.

    Args:
        image: (H, W, 3) uint8, normalised.
        run: the detector: (B, H', W', 3) uint8 to boxes (B, A, 4) float32 xyxy in pixels of its
            input and scores (B, A) float32 in [0, 1].
        method: window, stride, thresholds.
        max_bytes: memory that the boxes may take; None for no limit.
        magnification: pixels that the detector gets for each pixel of the image; by default as many
            as ``scale_factor`` says.
        batch: windows that go through the detector together, B at most.
        progress: is told how many windows, or parts of them, are done.
        ground: of several windows, only what is full is looked at.
        warn: of cells that may have been put together from parts.

    Returns:
        (N, 4) float32 xyxy boxes in pixels of the image, inside it, best first; (N,) scores.

    Raises:
        MemoryError: there are so many boxes that they would take more.
    """
    magnified = magnify_for(image, method, magnification)
    places = windows((magnified.shape[0], magnified.shape[1]), method)
    parts = parts_of(places, magnified, image.shape, method, ground)
    found = run_windows(magnified, parts.places, run, method, batch)
    by_part = gather(found, parts, max_bytes, progress)
    return merge(by_part, parts, places, magnified, image.shape, method, warn)


def parts_of(
    places: NDArray[np.int64],
    magnified: Pixels,
    shape: tuple[int, ...],
    method: Method,
    ground: Ground | None,
) -> Parts:
    """What the detector looks at of each window: all of a single one; see ``Ground``.

    Args:
        places: (M, 4) the windows.
        magnified: as ``magnify_for`` gives it.
        shape: (H, W, C) of the image itself.
    """
    if ground is None or len(places) == 1:
        return Parts(places, np.arange(len(places)))
    down, across = shape[0] / magnified.shape[0], shape[1] / magnified.shape[1]
    return ground.parts(places, (across, down), method.granularity)


def magnify_for(image: Pixels, method: Method, magnification: float | None = None) -> Pixels:
    """An image as the detector gets it; the arguments are those of ``detect``."""
    factor = scale_factor(image.shape, method) if magnification is None else magnification
    if factor == 1.0:
        return image
    if max(image.shape[:2]) * factor <= method.window:
        return magnify(image[:, :], factor)
    return Magnified(image, factor, method.granularity)


def gather(
    found: Iterable[Boxes], parts: Parts, max_bytes: int | None, progress: Progress
) -> list[Boxes]:
    """The boxes and scores of each part, as long as there is memory for them.

    Args:
        found: those of one part after the other.
        parts: of all windows.
        max_bytes: as in ``detect``, as are ``progress`` and what is raised.
    """
    gathered: list[Boxes] = []
    count, total = 0, len(parts.places)
    progress("windows", 0, total)
    for done, part in enumerate(found, 1):
        gathered.append(part)
        count += len(part[1])
        progress("windows", done, total)
        if max_bytes is not None and count * BOX_BYTES > max_bytes:
            raise MemoryError(
                f"{count} boxes in {done} of {total} windows need "
                f"{size_text(count * BOX_BYTES)}, but {size_text(max_bytes)} are left for them"
            )
    return gathered


def merge(
    by_part: Sequence[Boxes],
    parts: Parts,
    places: NDArray[np.int64],
    magnified: Pixels,
    shape: tuple[int, ...],
    method: Method,
    warn: bool = True,
) -> Boxes:
    """One box a cell, from those of all windows.

    Args:
        by_part: (n, 4) float32 xyxy boxes, pixels of the magnified image, and (n,) scores.
        parts: what they were found in.
        places: (M, 4) the windows.
        magnified: as ``magnify_for`` gives it.
        shape: (H, W, C) of the image itself.
        method: thresholds.
        warn: as in ``detect``.

    Returns:
        As ``detect``.
    """
    height, width = magnified.shape[:2]
    boxes, scores = (np.concatenate(arrays) for arrays in zip(_NOTHING, *by_part, strict=True))
    owner = np.repeat(parts.window, [len(s) for _, s in by_part])
    boxes, scores = mend_seams(boxes, scores, owner, places, (height, width), method)
    best = nms(boxes, scores, method.nms_iou)
    if warn and len(places) > 1:
        _warn_of_large(boxes[best], method)

    ratio = np.array([width / shape[1], height / shape[0]] * 2)
    if isinstance(magnified, Magnified):
        ratio = np.full(4, magnified.factor)
    sides = np.array([shape[1], shape[0]] * 2)
    return np.minimum(boxes[best] / ratio, sides).astype(np.float32), scores[best]


def share_skipped(image: Pixels, magnification: float, method: Method, ground: Ground) -> float:
    """The share of all windows' pixels that the detector need not look at, 0-1; as ``detect``."""
    if max(image.shape[:2]) * magnification <= method.window:
        return 0.0
    magnified = magnify_for(image, method, magnification)
    places = windows((magnified.shape[0], magnified.shape[1]), method)
    parts = parts_of(places, magnified, image.shape, method, ground)
    whole, seen = ((p[:, 2:] - p[:, :2]).prod(1).sum() for p in (places, parts.places))
    return float(1 - seen / whole)


def _warn_of_large(boxes: NDArray[np.float32], method: Method) -> None:
    """Say which cells may have been put together from parts, or be parts, by their size."""
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0)
    for limit, name, effect in (
        (method.window, "a window", "are found in parts that may not have been joined"),
        (method.window - method.stride, "the windows' overlap", "may be joined from parts"),
    ):
        if large := int((sides > limit).sum()):
            what = f"cells larger than {name} ({limit} pixels) {effect}"
            logger.warning("%s: %d here, the largest of %.0f pixels", what, large, sides.max())
            return


def run_windows(
    image: Pixels, places: NDArray[np.int64], run: Run, method: Method, batch: int
) -> Iterator[Boxes]:
    """The boxes and scores of each part above the score threshold, pixels of the magnified image.

    Args:
        image: (H, W, 3) uint8, as ``magnify_for`` gives it.
        places: (P, 4) windows, or parts of them.
        run: as in ``detect``, as are ``method`` and ``batch``.
    """

    def load(place: NDArray[np.int64]) -> NDArray[np.uint8]:
        x0, y0, x1, y1 = place
        return pad(image[y0:y1, x0:x1], method)

    for place, (boxes, scores) in run_batches(run, list(places), load, batch):
        yield _above_threshold(place, boxes, scores, method)


def _above_threshold(
    place: NDArray[np.int64],
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    method: Method,
) -> Boxes:
    """A part's good boxes, cut off at its edges, in pixels of the magnified image."""
    x0, y0, x1, y1 = place
    good = scores > method.score_threshold
    inside = np.clip(boxes[good], 0, np.array([x1 - x0, y1 - y0] * 2, np.float32))
    inside = (inside + np.array([x0, y0, x0, y0])).astype(np.float32)
    solid = (inside[:, 2:] > inside[:, :2]).all(1)
    return inside[solid], scores[good][solid]
