"""A small picture of an image, and the outlines of its cells as paths of SVG."""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from ...files.arrays import Pixels
from ..cells import LabelImage, find_boxes
from ..outlines import Outline, outlines
from ..shrink import fit, shrink, shrink_labels

_VIEW = 1280  # pixels: the side of the picture in whose pixels outlines are drawn
# Of what is in the report of few images; of many, each gets less.
_SIDE, _MOST_SIDE, _LEAST_SIDE = 320, 960, 96  # pixels; the first of this many images:
_USUAL_IMAGES = 500
_PICTURES, _OUTLINES = 9_000_000, 6_000_000  # bytes of all images together
_MOST_OUTLINES = 400_000  # bytes of one image
_QUALITIES = 80, 60, 40, 20, 5  # of WebP: the first that fits
_SMALLEST = 4  # pixels along the longer side of a cell that is outlined
_TOLERANCES = 0.8, 1.6, 3.2, 6.4  # pixels by which outlines may be off: the first that fits
# Bytes of a corner, about; of what an outline takes beside, with its label and score; of the
# shortest.
_CORNER, _EACH, _SHORTEST = 4, 16, 24
_SILHOUETTE = (38, 42, 48), (120, 128, 138)  # RGB of background and cells


Corners = NDArray[np.int32]
"""(M, 2) x, y."""


@dataclass(frozen=True)
class Budget:
    """How large the parts of one image may be."""

    side: int
    """Pixels of the picture along its longer side."""
    picture: int
    """Bytes, about."""
    outlines: int
    """Bytes."""


@dataclass(frozen=True)
class Picture:
    """What is shown of an image."""

    webp: bytes
    size: tuple[int, int]
    """(H, W) in whose pixels the outlines are."""
    path: str
    """Of SVG. Each cell begins with M; its other rings, which are holes or parts, with m."""
    labels: tuple[int, ...]
    """Of the cells of the path, in its order."""


class Silhouette:
    """The cells of a label image in grey, where the image itself is gone."""

    dtype = np.dtype(np.uint8)

    def __init__(self, labels: LabelImage) -> None:
        self.labels, self.shape = labels, (*labels.shape, 3)

    def __getitem__(self, window: tuple[slice, slice]) -> NDArray[np.uint8]:
        return np.array(_SILHOUETTE, np.uint8)[(self.labels[window] > 0).astype(np.intp)]


def budget(images: int) -> Budget:
    """What an image may take, so that the report of 500 images, and of more, can be mailed."""
    side = round(_SIDE * (_USUAL_IMAGES / max(images, 1)) ** 0.5)
    each = max(images, 1)
    # Text takes four bytes for three.
    return Budget(
        min(max(side, _LEAST_SIDE), _MOST_SIDE),
        _PICTURES * 3 // 4 // each,
        min(_OUTLINES // each, _MOST_OUTLINES),
    )


def make_picture(
    image: Pixels, labels: LabelImage, boxes: NDArray[np.int64], limits: Budget
) -> Picture:
    """Make what is shown of an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W), 1 to N are the cells, the most certain first.
        boxes: (N, 4) of its cells, as ``find_boxes`` gives them.
        limits: of the sizes. Cells that would be dots aren't outlined; if there is no room for all
            others, those with the highest labels are.
    """
    size = fit(labels.shape, _VIEW)
    webp = _encode(shrink(image, fit(labels.shape, limits.side)), limits.picture)
    path, shown = _draw(shrink_labels(labels, boxes, size), limits.outlines)
    return Picture(webp, size, path, shown)


def _encode(picture: NDArray[np.uint8], most: int) -> bytes:
    data = b""
    for quality in _QUALITIES:
        _, encoded = cv2.imencode(".webp", picture[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])
        data = encoded.tobytes()
        if len(data) <= most:
            break
    return data


def _draw(labels: NDArray[np.int32], most: int) -> tuple[str, tuple[int, ...]]:
    """The path of the cells, and their labels."""
    boxes = find_boxes(labels, int(labels.max()))
    there = 1 + np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).max(1) >= _SMALLEST)
    there = there[-max(1, most // _SHORTEST) :]
    if not len(there):
        return "", ()
    numbers = np.zeros(len(boxes) + 1, np.int32)
    numbers[there] = np.arange(1, len(there) + 1)
    chosen = numbers[labels]
    found = dict(outlines(chosen, boxes[there - 1]))
    traced = [found[cell] for cell in range(len(there))]
    cells: list[list[Corners]] = []
    for tolerance in _TOLERANCES:
        cells = [_simplify(outline, tolerance) for outline in traced]
        corners = sum(len(ring) for rings in cells for ring in rings)
        if _CORNER * corners + _EACH * len(cells) <= most:
            break
    texts = list(map(_path, cells))
    while len(texts) > 1 and sum(map(len, texts)) + _EACH * len(texts) > most:
        del texts[: max(1, len(texts) // 10)]
    return "".join(texts), tuple(there[-len(texts) :].tolist())


def _simplify(outline: Outline, tolerance: float) -> list[Corners]:
    """The rings of a cell with fewer corners, but three at least."""
    simple = []
    for ring in (ring[:-1].astype(np.int32) for part in outline for ring in part):
        corners = cv2.approxPolyDP(ring, tolerance, True)[:, 0]
        simple.append(np.asarray(corners if len(corners) > 2 else ring, np.int32))
    return simple


def _path(rings: list[Corners]) -> str:
    """One cell, in whole numbers; all but the first are counted from the one before."""
    text = f"M{_numbers(rings[0][0])}l{_numbers(rings[0][1:] - rings[0][:-1])}z"
    for before, ring in pairwise(rings):
        text += f"m{_numbers(ring[0] - before[0])}l{_numbers(ring[1:] - ring[:-1])}z"
    return text


def _numbers(values: NDArray[np.int32]) -> str:
    """Numbers with as little between them as SVG needs."""
    return " ".join(map(str, values.ravel().tolist())).replace(" -", "-")
