"""The runs of a part of a label image: neighbouring pixels of one cell in one row."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Runs(NamedTuple):
    """The R runs of a part, row by row from the left."""

    cells: NDArray[np.int64]
    """(R,) index of the cell, which is its label less one."""
    y: NDArray[np.int64]
    """(R,) row in the image."""
    x: NDArray[np.int64]
    """(R,) its first column in the image."""
    lengths: NDArray[np.int64]
    """(R,) pixels."""


def find_runs(part: NDArray[Any], y0: int, x0: int) -> Runs:
    """The runs of a part of a label image.

    Args:
        part: (h, w) labels.
        y0: row of its corner in the image.
        x0: column of its corner.
    """
    is_start = np.ones(part.shape, bool)
    is_start[:, 1:] = part[:, 1:] != part[:, :-1]
    starts = np.flatnonzero(is_start)
    lengths = np.diff(starts, append=part.size)
    labels = part.ravel()[starts]
    is_cell = labels > 0
    y, x = np.divmod(starts[is_cell], part.shape[1])
    return Runs(labels[is_cell].astype(np.int64) - 1, y + y0, x + x0, lengths[is_cell])
