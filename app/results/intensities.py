"""How bright each cell is in one channel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .runs import Runs


class Intensities:
    """Collects the pixels of N cells in one channel; those that are NaN or infinite are left out.

    Args:
        count: of the cells, N.
    """

    def __init__(self, count: int) -> None:
        # Pixels, their sum, and the sum of their squared differences from their mean.
        self._pixels, self._totals, self._squares = np.zeros((3, count))

    def add(self, values: NDArray[Any], runs: Runs) -> None:
        """Add the pixels of some runs.

        Args:
            values: (P,) of the pixels, run by run, any real dtype.
            runs: with P pixels together.
        """
        cells, group = np.unique(runs.cells, return_inverse=True)
        starts = np.cumsum(runs.lengths) - runs.lengths

        def sums(each: NDArray[Any]) -> NDArray[np.float64]:
            return np.asarray(np.bincount(group, np.add.reduceat(each, starts)), np.float64)

        values = values.astype(np.float64)
        counted = np.isfinite(values)
        pixels = sums(counted.astype(np.float64))
        with np.errstate(over="ignore", invalid="ignore"):  # of floats near their largest
            totals = sums(np.where(counted, values, 0))
            means = totals / np.maximum(pixels, 1)
            apart = np.where(counted, values - np.repeat(means[group], runs.lengths), 0)
            squares = sums(apart * apart)
            self._merge(cells, pixels, totals, squares)

    def _merge(
        self,
        cells: NDArray[np.int64],
        pixels: NDArray[np.float64],
        totals: NDArray[np.float64],
        squares: NDArray[np.float64],
    ) -> None:
        """Add sums of some cells to those so far.

        Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
        sample variances", 1979: no difference of large numbers is taken.
        """
        before, now = self._pixels[cells], np.maximum(pixels, 1)
        apart = totals / now - self._totals[cells] / np.maximum(before, 1)
        between = apart * apart * before * pixels / np.maximum(before + pixels, 1)
        self._squares[cells] += squares + between
        self._totals[cells] += totals
        self._pixels[cells] += pixels

    @property
    def mean(self) -> NDArray[np.float64]:
        """(N,) NaN of a cell none of whose pixels is a number."""
        return self._by_pixel(self._totals)

    @property
    def std(self) -> NDArray[np.float64]:
        """(N,) root of the mean squared difference from the mean; NaN as for the mean."""
        return np.sqrt(self._by_pixel(self._squares))

    def _by_pixel(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        values = np.full(len(sums), np.nan)
        np.divide(sums, self._pixels, out=values, where=self._pixels > 0)
        return values
