"""Where an image is empty: what the detector need not see.

On a slide most of the ground is glass. Of 105,472 labelled cells of 1,500 real images none lies
where nothing stands out (python -m benchmarks.empty_ground).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .levels import CELL, RANGE, Survey
from .look import Look

_MARGIN = 2  # cells of the map around what stands out, that its surroundings are seen too


@dataclass(frozen=True, eq=False)
class Ground:
    """Where something stands out.

    full: (rows, columns) bool, whether it does in each cell of ``CELL`` pixels, or beside it.
    """

    full: NDArray[np.bool_]

    def parts(
        self, places: NDArray[np.int64], ratio: tuple[float, float], granularity: int
    ) -> NDArray[np.int64]:
        """What is full of each window.

        Args:
            places: (M, 4) x0, y0, x1, y1 of the windows, pixels of the magnified image.
            ratio: pixels of the image for each of those, across and down.
            granularity: parts start at multiples of it, pixels of the magnified image.

        Returns:
            (M, 4) the smallest part of each that holds all that is full; without a pixel where
            nothing is.
        """
        # In cells of the map, those outwards that a window reaches into.
        scale = CELL / np.array([*ratio, *ratio])
        starts = np.floor(places[:, :2] / scale[:2]).astype(np.int64)
        stops = np.ceil(places[:, 2:] / scale[2:]).astype(np.int64)
        parts = places.copy()
        for part, (left, top), (right, bottom) in zip(parts, starts, stops, strict=True):
            rows, columns = np.nonzero(self.full[top:bottom, left:right])
            if not rows.size:
                part[2:] = part[:2]
                continue
            first = left + columns.min(), top + rows.min()
            after = left + columns.max() + 1, top + rows.max() + 1
            ends = np.array([*first, *after]) * scale / granularity
            part[:2] = np.maximum(part[:2], np.floor(ends[:2]) * granularity)
            part[2:] = np.minimum(part[2:], np.ceil(ends[2:]) * granularity)
        return parts


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
