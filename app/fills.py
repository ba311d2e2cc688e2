"""Values that stand for a place where nothing was recorded: no data, padding, saturated debris."""

import numpy as np
from numpy.typing import NDArray

# A lowest or highest value that many pixels have in common, this far from all others, as a share of
# their range, fills a place where nothing was recorded. It needs others of some variety.
_MIN_FILL_GAP = 1.0
_MIN_FILL_PIXELS = 10
_MIN_VARIETY = 16


def without_fills(
    values: NDArray[np.float64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], tuple[float, ...]]:
    """Leave out zero, levels that no pixel has, and fill values at either end, zero among them.

    Args:
        values: (K,) ascending; counts: (K,) pixels of each.

    Returns:
        The rest of both, and the fill values.
    """
    there = counts > 0
    values, counts = values[there], counts[there]
    fills: list[float] = []
    while len(values) > _MIN_VARIETY:
        halves = values / 2  # the difference of two levels may be too large for any number
        ends = (
            (0, halves[1] - halves[0], slice(1, None)),
            (-1, halves[-1] - halves[-2], slice(None, -1)),
        )
        for end, gap, rest in ends:
            # A few defective pixels are no part of the others' range.
            total = np.cumsum(counts[rest])
            few = min(_MIN_FILL_PIXELS, int(total[-1]) // 4)
            first, last = np.searchsorted(total, (few, total[-1] - few - 1), side="right")
            extent = halves[rest][last] - halves[rest][first]
            if counts[end] >= _MIN_FILL_PIXELS and gap > _MIN_FILL_GAP * extent:
                fills.append(float(values[end]))
                values, counts = values[rest], counts[rest]
                break
        else:
            break
    there = values != 0
    return values[there], counts[there], tuple(fills)
