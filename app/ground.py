"""Where an image is empty: what the detector need not see.

On a slide most of the ground is glass. Of 105,472 labelled cells of 1,500 real images none lies
where nothing stands out (python -m benchmarks.empty_ground).
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .levels import CELL, RANGE, Survey
from .look import Look

_MARGIN = 1  # cells of the map around what stands out, that its surroundings are seen too
# One more call of the detector takes as long as so many pixels: 0.9 ms for a side of 32, where a
# pixel of a large part takes 0.2 µs; that a part is read by itself comes on top.
_OVERHEAD = 128 * 128


class Parts(NamedTuple):
    """What the detector looks at.

    places: (P, 4) int64 x0, y0, x1, y1, pixels of the magnified image.
    window: (P,) int64 index of the window that each is a part of, ascending.
    """

    places: NDArray[np.int64]
    window: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ground:
    """Where something stands out.

    full: (rows, columns) bool, whether it does in each cell of ``CELL`` pixels, or beside it.
    """

    full: NDArray[np.bool_]

    def parts(
        self, places: NDArray[np.int64], ratio: tuple[float, float], granularity: int
    ) -> Parts:
        """What is full of each window, in few parts with empty ground between them.

        Whatever is full, with what is beside it, is in a single part of a window: no part's edge
        cuts a cell that its window doesn't cut.

        Args:
            places: (M, 4) x0, y0, x1, y1 of the windows, pixels of the magnified image.
            ratio: pixels of the image for each of those, across and down.
            granularity: parts start at multiples of it from their window's start, pixels of the
                magnified image.
        """
        sums = cv2.integral(self.full.astype(np.uint8))
        found = []
        for x0, y0, x1, y1 in places.tolist():
            x = np.append(np.arange(x0, x1, granularity), x1)
            y = np.append(np.arange(y0, y1, granularity), y1)
            left, right = _cells(x * ratio[0], self.full.shape[1])
            top, bottom = _cells(y * ratio[1], self.full.shape[0])
            until = sums[bottom] - sums[top]
            boxes = _divided(until[:, right] > until[:, left], _OVERHEAD / granularity**2).T
            found.append(np.stack((x[boxes[0]], y[boxes[1]], x[boxes[2]], y[boxes[3]]), 1))
        window = np.repeat(np.arange(len(places)), [len(parts) for parts in found])
        return Parts(np.concatenate(found), window)


def _cells(edges: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cells of the map, of so many in a line, that each stretch from edge to edge reaches into:
    the first, and that after the last."""
    first, after = np.floor(edges[:-1] / CELL), np.ceil(edges[1:] / CELL)
    return np.minimum(first, count).astype(np.int64), np.minimum(after, count).astype(np.int64)


def _divided(full: NDArray[np.bool_], overhead: float) -> NDArray[np.int64]:
    """Boxes around all that is full of a grid, divided at empty rows or columns where that pays.

    Args:
        full: (rows, columns).
        overhead: what a box costs beside its cells, in cells.

    Returns:
        (N, 4) x0, y0, x1, y1 in cells.
    """
    lines = [np.flatnonzero(full.any(1 - axis)) for axis in (0, 1)]  # that are not empty
    if not lines[0].size:
        return np.zeros((0, 4), np.int64)
    (y0, x0), (y1, x1) = ([line[end] for line in lines] for end in (0, -1))
    whole = np.array([(x0, y0, x1 + 1, y1 + 1)])
    # At the largest band that is empty all across.
    gaps = [np.diff(line, append=line[-1] + 1) - 1 for line in lines]
    sizes = gaps[0].max() * (x1 + 1 - x0), gaps[1].max() * (y1 + 1 - y0)
    if not any(sizes):
        return whole
    axis = int(np.argmax(sizes))
    before = np.indices(full.shape)[axis] <= lines[axis][gaps[axis].argmax()]
    parts = np.concatenate([_divided(full & side, overhead) for side in (before, ~before)])
    divided, undivided = (
        ((boxes[:, 2:] - boxes[:, :2]).prod(1) + overhead).sum() for boxes in (parts, whole)
    )
    return parts if divided < undivided else whole


def ground_of(survey: Survey, look: Look, min_content: float) -> Ground:
    """Where something stands out of an image as it is shown.

    Args:
        survey: of the image.
        look: how it is shown.
        min_content: what stands out differs by more than this from what is around it, as a share of
            the look's range from black to white.
    """
    shown = [
        (survey.channels[channel], limits)
        for channel, limits in zip(look.channels, look.limits, strict=True)
        if limits is not None
    ]
    if any(levels.empty for levels, _ in shown):
        return Ground(np.ones(survey.content.shape, bool))  # the survey has not looked there
    ranges = [levels.percentile(RANGE[1]) - levels.percentile(RANGE[0]) for levels, _ in shown]
    shares = [
        (high - low) / max(extent, 1e-12)
        for extent, (_, (low, high)) in zip(ranges, shown, strict=True)
    ]
    full = survey.content > min_content * min([1.0, *shares])
    around = np.ones((2 * _MARGIN + 1,) * 2, np.uint8)
    return Ground(cv2.dilate(full.astype(np.uint8), around).astype(bool))
