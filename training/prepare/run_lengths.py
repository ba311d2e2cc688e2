"""Outlines of cells, as COCO and Kaggle write them, to label images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon

Shape = tuple[int, int]
Pixels = NDArray[np.int64]
"""One outline: (N,) places in the flattened (H, W) image, each once."""


def stack(cells: list[Pixels], shape: Shape) -> tuple[NDArray[np.int32], list[str]]:
    """Outlines, which may overlap, to a label image of (H, W); ids 1 to N, in the list's order.

    The smaller one lies on top, of equal ones the later; one more than half of which is covered
    is left out, and one without a pixel.
    """
    label = np.zeros(shape[0] * shape[1], np.int32)
    sizes = np.array([len(cell) for cell in cells], np.int64)
    for n in np.argsort(-sizes, kind="stable"):
        label[cells[n]] = n + 1
    seen = np.bincount(label, minlength=len(cells) + 1)[1:]
    hidden = (2 * seen < sizes) | (sizes == 0)
    table = np.concatenate([[0], np.where(hidden, 0, np.cumsum(~hidden))])
    notes = [f"{hidden.sum()} outlines left out: under others, or without a pixel"]
    return table.astype(np.int32)[label].reshape(shape), notes if hidden.any() else []


def coco_pixels(outline: Any, shape: Shape) -> Pixels:
    """One COCO segmentation in an image of (H, W).

    Polygons are x, y, x, y, ... in which a pixel reaches from n to n + 1; one belongs to the cell
    if its centre does. Of run lengths, down the columns, both forms are read.

    Raises:
        ValueError: it is neither, or of another size.
    """
    mask = np.zeros(shape, np.bool_)
    if isinstance(outline, dict):
        counts = outline["counts"]
        runs = np.asarray(counts if isinstance(counts, list) else _unpack_counts(counts), np.int64)
        if (runs < 0).any() or runs.sum() != mask.size or tuple(outline["size"]) != shape:
            raise ValueError(f"run lengths of {outline['size']} in an image of {list(shape)}")
        mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape[::-1]).T
    else:
        for points in outline:
            xy = np.asarray(points, np.float64)
            if xy.ndim != 1 or len(xy) % 2 or len(xy) < 6:
                raise ValueError(f"polygon of shape {xy.shape}; wanted x, y of 3 or more points")
            rows_columns = polygon(xy[1::2] - 0.5, xy[::2] - 0.5, shape)
            mask[rows_columns] = True
    return np.flatnonzero(mask)


def _unpack_counts(text: str) -> list[int]:
    """COCO's compressed run lengths: 5 bits a character, from the lowest, differences from 3rd.

    pycocotools decodes them too, but past the end of its memory where they are broken.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue  # the number goes on
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts


def run_pixels(text: str, shape: Shape) -> Pixels:
    """Kaggle's run lengths, ``start length start length ...``, in an image of (H, W).

    Raises:
        ValueError: they aren't pairs of numbers within the image.
    """
    runs = np.array(text.split(), np.int64)
    if len(runs) % 2:
        raise ValueError(f"annotation has {len(runs)} numbers; wanted pairs of start and length")
    starts, lengths = runs[::2] - 1, runs[1::2]
    if (starts < 0).any() or (lengths < 1).any() or (starts + lengths > shape[0] * shape[1]).any():
        raise ValueError(f"annotation leaves the image of {shape[0]} x {shape[1]}")
    parts = [np.arange(a, a + n) for a, n in zip(starts, lengths, strict=True)]
    return np.unique(np.concatenate([np.empty(0, np.int64), *parts]))
