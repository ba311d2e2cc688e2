"""Masks to one label image, block by block, so that no image is too large."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Visit:
    """One block of an image and the boxes in it, as indices, best first."""

    window: tuple[int, int, int, int]
    """y0, x0, y1, x1."""
    members: NDArray[np.int64]
    """Boxes that reach into the block."""
    new: NDArray[np.int64]
    """Those that no earlier block had."""
    done: NDArray[np.int64]
    """Those that no later block has."""


class Mask(Protocol):
    """(H, W) bool of a box: an array, or what makes any part of one."""

    def __getitem__(self, window: tuple[slice, slice], /) -> NDArray[np.bool_]: ...


def visits(boxes: NDArray[np.int64], shape: tuple[int, ...], size: int) -> Iterator[Visit]:
    """Each block of an image that holds a part of some box, row by row.

    Args:
        boxes: (N, 4) whole pixels x0, y0, x1, y1, inside the image, best first.
        shape: (H, W) of the image.
        size: side of a block, pixels.
    """
    columns = math.ceil(shape[1] / size)
    first, last = boxes[:, :2] // size, (boxes[:, 2:] - 1) // size
    wide, high = (last - first + 1).T
    # One entry for each pair of a box and a block that it reaches into.
    box = np.repeat(np.arange(len(boxes)), wide * high)
    nth = np.arange(len(box)) - np.repeat(np.cumsum(wide * high) - wide * high, wide * high)
    column, row = first[box, 0] + nth % wide[box], first[box, 1] + nth // wide[box]
    block = row * columns + column
    order = np.argsort(block, kind="stable")
    box, block = box[order], block[order]
    starts = np.flatnonzero(np.diff(block, prepend=-1))
    for start, members in zip(starts, np.split(box, starts[1:]), strict=False):
        y, x = divmod(int(block[start]), columns)
        here = np.array([x, y])
        window = (y * size, x * size, min((y + 1) * size, shape[0]), min((x + 1) * size, shape[1]))
        new, done = (members[(side[members] == here).all(1)] for side in (first, last))
        yield Visit(window, members, new, done)


def paste(
    masks: Iterable[Mask],
    boxes: NDArray[np.int64],
    ids: NDArray[np.int64],
    window: tuple[int, int, int, int],
) -> NDArray[np.uint32]:
    """Write each mask into its own box with its own id; a pixel goes to the first that wants it.

    Args:
        masks: N arrays (y1 - y0, x1 - x0) bool, best first.
        boxes: (N, 4) whole pixels x0, y0, x1, y1 of the image, that reach into the window.
        ids: (N,) what to write.
        window: y0, x0, y1, x1 of the image: the part that is made.

    Returns:
        (h, w) uint32 labels of the window, 0 where no mask is.
    """
    top, left, bottom, right = window
    label = np.zeros((bottom - top, right - left), np.uint32)
    for mask, (x0, y0, x1, y1), number in zip(masks, boxes, ids, strict=True):
        place = label[max(y0 - top, 0) : y1 - top, max(x0 - left, 0) : x1 - left]
        part = mask[max(top - y0, 0) : bottom - y0, max(left - x0, 0) : right - x0]
        place[part & (place == 0)] = number
    return label


def relabel(
    areas: NDArray[np.int64],
    masks: NDArray[np.int64],
    min_area: int,
    min_visible: float,
    kept: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint16] | NDArray[np.uint32]:
    """New ids: 0 for what is too small, and 1 to N for the rest, in the order of the old ids.

    Args:
        areas: (highest id + 1,) pixels of each id, the background's first.
        masks: the same of its mask, before better ones took their pixels.
        min_area: instances of fewer pixels become background.
        min_visible: so do those of which less than this share is left, 0-1.
        kept: (highest id + 1,) so do those that are not; by default all are.

    Returns:
        (highest id + 1,) the new id of each, uint16 where N fits and uint32 above.
    """
    stays = (areas >= max(min_area, 1)) & (areas >= min_visible * masks)
    stays[0] = False
    if kept is not None:
        stays &= kept
    numbers = np.where(stays, np.cumsum(stays), 0)
    fits = numbers.max() <= np.iinfo(np.uint16).max
    return numbers.astype(np.uint16) if fits else numbers.astype(np.uint32)
