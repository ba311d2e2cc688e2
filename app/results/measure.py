"""The size, shape and brightness of each cell, block by block; named as scikit-image names them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.arrays import Pixels, blocks
from ..files.pixel_size import Size
from .borders import MARGIN, Perimeters
from .cells import LabelImage
from .ellipses import Moments
from .hulls import Hulls
from .intensities import Intensities
from .runs import find_runs

# Of N cells, by name: (N,) numbers or bool, in the order of a table.
Columns = dict[str, NDArray[Any]]
_BLOCK = 1024  # side of the part of an image that is measured at once, pixels


def measure(
    labels: LabelImage,
    image: Pixels,
    boxes: NDArray[np.int64],
    scores: NDArray[np.floating],
    mask_confidence: NDArray[np.floating],
    channel_names: Sequence[str] = (),
    pixel_size: Size | None = None,
) -> Columns:
    """Measure every cell. docs/results.md says what each column holds.

    Args:
        labels: (H, W), 1 to N are the cells.
        image: (H, W, C) as it was read, any real dtype; pixels that are NaN or infinite are left
            out of the intensities.
        boxes: (N, 4) x0, y0, x1, y1 of the cells, as ``find_boxes`` gives them.
        scores: (N,) how sure the detector is of each cell; NaN where nobody knows.
        mask_confidence: (N,) how sure the segmenter is of its pixels; NaN where nobody knows.
        channel_names: of all channels, or none; a channel whose name is empty, or that of another
            channel too, goes by its number from 0.
        pixel_size: (y, x) micrometres, or None where it isn't known.

    Returns:
        Columns of (N,), ``label`` first, row i that of cell i + 1.
    """
    count = len(boxes)
    moments, perimeters, hulls = Moments(boxes), Perimeters(count), Hulls(boxes)
    channels = [Intensities(count) for _ in range(image.shape[2])]
    for y0, x0, y1, x1 in blocks(labels.shape, _BLOCK):
        part = _with_margin(labels, y0, x0, y1, x1)
        own = part[MARGIN:-MARGIN, MARGIN:-MARGIN]
        if not own.any():
            continue
        runs = find_runs(own, y0, x0)
        moments.add(runs)
        hulls.add(runs)
        perimeters.add(part)
        pixels = image[y0:y1, x0:x1][own > 0]
        for channel, values in zip(channels, pixels.T, strict=True):
            channel.add(values, runs)
    columns = _positions(moments, boxes) | _shapes(moments, perimeters, hulls, pixel_size)
    named = dict(zip(_distinct(channel_names, len(channels)), channels, strict=True))
    columns |= {f"intensity_mean-{name}": channel.mean for name, channel in named.items()}
    columns |= {f"intensity_std-{name}": channel.std for name, channel in named.items()}
    height, width = labels.shape
    columns["score"], columns["mask_confidence"] = scores, mask_confidence
    columns["touches_edge"] = (boxes[:, :2] == 0).any(1) | (boxes[:, 2:] == (width, height)).any(1)
    return columns | (_in_micrometres(moments, perimeters, pixel_size) if pixel_size else {})


def _with_margin(labels: LabelImage, y0: int, x0: int, y1: int, x1: int) -> NDArray[Any]:
    """A part of the labels and the pixels around it, 0 outside of the image."""
    height, width = labels.shape
    top, left, bottom, right = y0 - MARGIN, x0 - MARGIN, y1 + MARGIN, x1 + MARGIN
    inside = labels[max(top, 0) : bottom, max(left, 0) : right]
    below, beyond = max(bottom - height, 0), max(right - width, 0)
    return np.pad(inside, ((max(-top, 0), below), (max(-left, 0), beyond)))


def _positions(moments: Moments, boxes: NDArray[np.int64]) -> Columns:
    columns: Columns = {"label": np.arange(1, len(boxes) + 1), "area": moments.area}
    columns |= _both_axes("centroid-{}", moments.centroid)
    return columns | {f"bbox-{n}": boxes[:, side] for n, side in enumerate((1, 0, 3, 2))}


def _shapes(
    moments: Moments, perimeters: Perimeters, hulls: Hulls, pixel_size: Size | None
) -> Columns:
    """Lengths are in pixels; what has no unit is true of the cell, also if pixels aren't square."""
    flat, perimeter = moments.ellipses(), perimeters.lengths()
    true, true_area, true_perimeter = flat, moments.area.astype(np.float64), perimeter
    if pixel_size and pixel_size[0] != pixel_size[1]:
        true, true_perimeter = moments.ellipses(pixel_size), perimeters.lengths(pixel_size)
        true_area = true_area * math.prod(pixel_size)
    return {
        "axis_major_length": flat.axis_major_length,
        "axis_minor_length": flat.axis_minor_length,
        "eccentricity": true.eccentricity,
        "orientation": true.orientation,
        "perimeter": perimeter,
        "solidity": moments.area / hulls.areas(),
        "circularity": _circularity(true_area, true_perimeter),
    }


def _circularity(area: NDArray[np.float64], perimeter: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 of a circle. The perimeter of small cells is too short: at most 1, as ImageJ has it."""
    ratio = np.full(len(area), np.nan)
    np.divide(4 * math.pi * area, perimeter**2, out=ratio, where=perimeter > 0)
    return ratio.clip(max=1)


def _in_micrometres(moments: Moments, perimeters: Perimeters, pixel_size: Size) -> Columns:
    ellipses = moments.ellipses(pixel_size)
    return {
        "area_um2": moments.area * math.prod(pixel_size),
        **_both_axes("centroid-{}_um", moments.centroid * pixel_size),
        "axis_major_length_um": ellipses.axis_major_length,
        "axis_minor_length_um": ellipses.axis_minor_length,
        "perimeter_um": perimeters.lengths(pixel_size),
    }


def _both_axes(name: str, values: NDArray[np.float64]) -> Columns:
    return {name.format(axis): values[:, axis] for axis in range(2)}


def _distinct(names: Sequence[str], count: int) -> list[str]:
    """What the channels are called, so that no two are called the same."""
    numbers = [str(number) for number in range(count)]
    if len(names) != count:
        return numbers
    found = [
        name if name and names.count(name) == 1 else number
        for name, number in zip(names, numbers, strict=True)
    ]
    return found if len(set(found)) == count else numbers
