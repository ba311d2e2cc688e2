"""The convex hull of each cell, and how many pixels it has."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from .runs import Runs

_ROWS = 200_000  # of hulls that are counted at once
_ROUNDING = 1e-7  # pixels; no two fractions of what is compared come as close


class Hulls:
    """Collects the corners of the hulls of N cells.

    Args:
        boxes: (N, 4) x0, y0, x1, y1 of the cells.
    """

    def __init__(self, boxes: NDArray[np.int64]) -> None:
        self._boxes = boxes
        self._cells = [np.zeros(0, np.int64)]
        self._corners = [np.zeros((0, 2), np.int32)]

    def add(self, runs: Runs) -> None:
        """Add the pixels of some runs."""
        left = np.stack((runs.x, runs.y), 1)
        right = np.stack((runs.x + runs.lengths - 1, runs.y), 1)
        cells, corners = _wrap(np.tile(runs.cells, 2), np.concatenate((left, right)))
        self._cells.append(cells)
        self._corners.append(corners)

    def areas(self) -> NDArray[np.int64]:
        """(N,) pixels that are in the hull of a cell, as scikit-image counts them.

        That is the hull of the middles of the sides of a cell's pixels, and a pixel is in it if its
        centre is, or lies on its edge.
        """
        cells, corners = _wrap(np.concatenate(self._cells), np.concatenate(self._corners))
        heights = self._boxes[:, 3] - self._boxes[:, 1]
        areas = np.zeros(len(heights), np.int64)
        for first, last in _batches(heights):
            some = slice(*np.searchsorted(cells, [first, last]))
            places = corners[some] - self._boxes[cells[some], :2]
            areas[first:last] = _count(cells[some] - first, places, heights[first:last])
        return areas


def _wrap(
    cells: NDArray[np.int64], points: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The corners of the hull of each cell's points, cell by cell, going round."""
    order = np.argsort(cells, kind="stable")
    cells, points = cells[order], points[order].astype(np.int32)
    starts = np.flatnonzero(np.diff(cells, prepend=-1))
    hulls = [cv2.convexHull(each)[:, 0] for each in np.split(points, starts)[1:]]
    sizes = np.array([len(hull) for hull in hulls], np.int64)
    corners = np.concatenate([np.zeros((0, 2), np.int32), *hulls])
    return np.repeat(cells[starts], sizes), corners


def _batches(heights: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """First and last + 1 of cells that have few rows together, or of one that has many."""
    ends = np.cumsum(heights)
    first = 0
    while first < len(heights):
        before = ends[first] - heights[first]
        last = max(first + 1, int(np.searchsorted(ends, before + _ROWS, "right")))
        yield first, last
        first = last


def _count(
    cells: NDArray[np.int64], corners: NDArray[np.int64], heights: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Pixels in the hulls of M cells.

    Args:
        cells: (K,) 0 to M - 1, to which a corner belongs; rising.
        corners: (K, 2) x, y from the corner of the cell's box, going round the hull.
        heights: (M,) rows of the boxes.
    """
    firsts = np.searchsorted(cells, np.arange(len(heights)))
    following = np.arange(1, len(cells) + 1)
    following[np.append(firsts[1:], len(cells)) - 1] = firsts
    x, y = corners.T
    dx, dy = x[following] - x, y[following] - y
    # Where each edge of a hull crosses the rows of pixel centres.
    crossed = np.abs(dy) + 1
    edge = np.repeat(np.arange(len(cells)), crossed)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(crossed) - crossed, crossed)
    tops = np.cumsum(heights) - heights
    row = tops[cells[edge]] + y[edge] + np.sign(dy[edge]) * step
    where = x[edge] + dx[edge] * step / np.maximum(np.abs(dy[edge]), 1)
    right = np.full(heights.sum(), -np.inf)
    left = np.full(heights.sum(), np.inf)
    np.maximum.at(right, row, where)
    np.minimum.at(left, row, where)
    # The middles of the sides of pixels widen the hull: by half a pixel in each row, and where it
    # is flat by more, up to where it is half a row above or below.
    has_next = np.ones(len(right), bool)
    has_next[tops[1:] - 1] = False
    has_next[-1:] = False
    widths = _widen(right, has_next) + _widen(-left, has_next)
    return np.add.reduceat(widths + 1, tops).astype(np.int64)


def _widen(right: NDArray[np.float64], has_next: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The last pixel of each row in a hull that is widened, of right ends in rows."""
    best = right + 0.5
    upper = np.flatnonzero(has_next)
    middle = (right[upper] + right[upper + 1]) / 2
    best[upper] = np.maximum(best[upper], middle)
    best[upper + 1] = np.maximum(best[upper + 1], middle)
    return np.asarray(np.floor(best + _ROUNDING), np.float64)
