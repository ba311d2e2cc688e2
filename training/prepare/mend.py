"""Label images as people publish them, mended by written rules.

The rules, in this order:

1. Any array of whole numbers is a label image: booleans, negative ids and floats without a
   fraction too, and several channels if they are all the same. Only 0 is background.
2. An id is one cell. Where it is in several pieces (a piece is 8-connected), a piece of less than
   10 % of the largest one and of fewer than 64 pixels is a speck and dropped; each other piece
   becomes a cell of its own.
3. Cells of fewer than 8 pixels are dropped.
4. Slivers are dropped: cells that touch the border and are less than 2 pixels deep there.
5. Holes of fewer than 64 pixels are filled: background (4-connected) that touches no border and
   no other cell.
6. The ids become 1 to N, in their old order; the pieces of one id from the top left.

A label image without a cell is kept, and said to be empty. What was mended once needs no mending:
``mend(mend(x)) == mend(x)``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import measure

SPECK_SHARE = 0.1
SPECK_PIXELS = 64
MIN_PIXELS = 8
HOLE_PIXELS = 64
MAX_CELLS = 65535  # ids are uint16


def mend(label: NDArray[Any]) -> tuple[NDArray[np.uint16], list[str]]:
    """Apply the module's rules.

    Args:
        label: (H, W) or (H, W, C), any dtype.

    Returns:
        (H, W) uint16 label image, ids 1 to N; what was found and done, none for a sound one.

    Raises:
        ValueError: it isn't a label image, or there are more than 65535 cells.
    """
    ids = _whole_numbers(label)
    notes: list[str] = []
    pieces, owners = _pieces(ids)
    _note_ids(owners, notes)
    keep = _worth_keeping(pieces, owners, notes)
    count = int(keep.sum())
    if count > MAX_CELLS:
        raise ValueError(f"{count} cells, but ids are uint16; cut the image into smaller ones")
    order = np.flatnonzero(keep)
    order = order[np.argsort(owners[order], kind="stable")]
    table = np.zeros(len(keep), np.uint16)
    table[order] = np.arange(1, count + 1)
    mended = table[pieces]
    _fill_holes(mended, notes)
    if not count:
        notes.append("empty: no cell")
    return mended, notes


def _whole_numbers(label: NDArray[Any]) -> NDArray[np.int64]:
    """Rule 1: any label image as (H, W) int64."""
    wanted = "a label image has one whole number a pixel; export it again as ids"
    if label.ndim == 3 and label.shape[2] and (label == label[:, :, :1]).all():
        label = label[:, :, 0]
    if label.ndim != 2 or not label.size:
        raise ValueError(f"has shape {label.shape}, and channels that differ if any; {wanted}")
    if label.dtype.kind not in "biuf":
        raise ValueError(f"is of {label.dtype}; {wanted}")
    with np.errstate(invalid="ignore"):
        whole: NDArray[np.int64] = label.astype(np.int64)
    if label.dtype.kind == "f" and (whole != label).any():
        strange = label[whole != label][0]
        raise ValueError(f"has the value {strange}; {wanted}")
    return whole


def _pieces(ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut (H, W) ids into 8-connected pieces.

    Returns:
        (H, W) number of each pixel's piece, from the top left, 0 for background; the id that each
        piece had, (P + 1,), piece 0 being the background.
    """
    pieces = _connected(ids, 2)
    owners = np.zeros(int(pieces.max(initial=0)) + 1, np.int64)
    owners[pieces.ravel()] = ids.ravel()
    return pieces, owners


def _connected(values: NDArray[Any], connectivity: int) -> NDArray[np.int64]:
    """Numbers for the connected areas of one value, from the top left; 0 stays 0."""
    areas = measure.label(values, background=0, connectivity=connectivity)
    return np.asarray(areas, np.int64)


def _note_ids(owners: NDArray[np.int64], notes: list[str]) -> None:
    """Say which ids were unusual."""
    values = np.unique(owners[1:])
    negative = values[values < 0]
    if len(negative):
        notes.append(f"{len(negative)} ids are negative, the lowest {negative[0]}: kept as cells")
    if len(values) and not (values[0] == 1 and values[-1] == len(values)) and not len(negative):
        notes.append(f"{len(values)} ids from {values[0]} to {values[-1]}: numbered anew")


def _worth_keeping(
    pieces: NDArray[np.int64], owners: NDArray[np.int64], notes: list[str]
) -> NDArray[np.bool_]:
    """Rules 2 to 4: which pieces become cells, (P + 1,)."""
    areas = np.bincount(pieces.ravel(), minlength=len(owners))
    values, index = np.unique(owners, return_inverse=True)  # 0, the background, is one of them
    largest = np.zeros(len(values), np.int64)
    np.maximum.at(largest, index[1:], areas[1:])
    speck = (areas < SPECK_SHARE * largest[index]) & (areas < SPECK_PIXELS)
    split = int((np.bincount(index[1:], minlength=len(values)) > 1).sum())
    if split:
        extra = len(owners) - len(values) - int(speck.sum())
        notes.append(
            f"{split} ids in several pieces: {speck.sum()} specks dropped, {extra} pieces became "
            "cells of their own"
        )
    small = (areas < MIN_PIXELS) & ~speck
    small[0] = False
    if small.any():
        notes.append(f"{small.sum()} cells of fewer than {MIN_PIXELS} pixels dropped")
    sliver = _slivers(pieces, len(owners)) & ~speck & ~small
    if sliver.any():
        notes.append(f"{sliver.sum()} slivers at the border, 1 pixel deep, dropped")
    keep: NDArray[np.bool_] = ~(speck | small | sliver)
    keep[0] = False
    return keep


def _slivers(pieces: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Which of ``count`` pieces lie wholly in the outermost row or column of one side."""
    slivers = np.zeros(count, np.bool_)
    for turned in (pieces, pieces[::-1], pieces.T, pieces.T[::-1]):
        if len(turned) < 2:
            continue  # a single row has no inside
        # A piece is connected: if it leaves the outermost row, it is seen in the next one.
        slivers[np.setdiff1d(turned[0], turned[1])] = True
    slivers[0] = False
    return slivers


def _fill_holes(label: NDArray[np.uint16], notes: list[str]) -> None:
    """Rule 5, in place."""
    holes = _connected(label == 0, 1)
    small = np.bincount(holes.ravel()) < HOLE_PIXELS
    small[0] = False  # the cells
    for edge in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        small[edge] = False
    y, x = np.nonzero(small[holes])  # none of them at the border
    hole = holes[y, x]
    lowest, highest = np.full(len(small), MAX_CELLS + 1), np.zeros(len(small), np.int64)
    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        beside = label[y + dy, x + dx].astype(np.int64)
        cell = beside > 0
        np.minimum.at(lowest, hole[cell], beside[cell])
        np.maximum.at(highest, hole[cell], beside[cell])
    fill = small & (lowest == highest)
    inside = fill[hole]
    label[y[inside], x[inside]] = highest[hole[inside]]
    if fill.any():
        notes.append(f"{fill.sum()} holes of fewer than {HOLE_PIXELS} pixels filled")
