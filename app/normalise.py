"""Any channels and any depth in, three 8-bit channels out, the same for training and prediction."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from app.pixels import Pixels
from app.tile import blocks

_BLOCK = 2048  # pixels along each side of what is counted at once
# Values of a channel that percentiles are taken from where they can't be counted one by one.
_MOST_VALUES = 2**22
_COUNTED = (np.uint8, np.uint16)
Limits = tuple[float, float] | None


class Normalised:
    """An image in 8 bits and three channels, made of any part when it is asked for.

    Each channel is rescaled between two of its percentiles, which are those of the whole image.
    One channel is copied to three. Of two the third stays black. Of four and more the brightest
    at each pixel, after rescaling, is copied to three, so that no stain is lost.

    Args:
        image: (H, W, C), integers or floats; NaN counts as 0.
        low: percentile that becomes 0, in [0, 100].
        high: percentile that becomes 255, in [0, 100], above ``low``.

    Attributes:
        shape: (H, W, 3).

    Source: VSM paper, section 2.2 (channel alignment and intensity rescaling), after the
    challenge's baseline, which takes the percentiles over the non-zero pixels.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, image: Pixels, low: float, high: float) -> None:
        self.image = image
        self.shape = (*image.shape[:2], 3)
        self.limits = percentile_limits(image, low, high)
        self._tables: list[NDArray[np.uint8]] | None = None
        if image.dtype in _COUNTED:
            # Of few grey levels each is rescaled once, then looked up.
            levels = np.arange(np.iinfo(image.dtype).max + 1)
            self._tables = [_rescale(levels, limits) for limits in self.limits]

    def __getitem__(self, window: tuple[slice, slice]) -> NDArray[np.uint8]:
        """(h, w, 3) uint8, contiguous."""
        block = self.image[window]
        channels = [self._channel(block[:, :, c], c) for c in range(block.shape[2])]
        if len(channels) == 2:
            channels.append(np.zeros_like(channels[0]))
        if len(channels) > 3:
            channels = [np.maximum.reduce(channels)]
        return np.asarray(cv2.merge(channels * 3 if len(channels) == 1 else channels), np.uint8)

    def _channel(self, values: NDArray[Any], number: int) -> NDArray[np.uint8]:
        if self._tables is None:
            return _rescale(values, self.limits[number])
        if values.dtype == np.uint8:
            table = self._tables[number]
            return np.asarray(cv2.LUT(np.ascontiguousarray(values), table), np.uint8)
        return self._tables[number].take(values)


def normalise(image: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """A whole image, (H, W) or (H, W, C), as ``Normalised`` makes it: (H, W, 3) uint8."""
    if image.dtype == np.bool_:
        image = image.astype(np.uint8)
    return Normalised(image if image.ndim == 3 else image[:, :, None], low, high)[:, :]


def percentile_limits(image: Pixels, low: float, high: float) -> list[Limits]:
    """Two percentiles of each channel over its finite non-zero pixels, linearly interpolated.

    Exact for 8 and 16 bits unsigned, by a histogram, and for images of up to 4 million pixels;
    else those of 4 million pixels drawn at random, always the same.

    Args:
        image: (H, W, C), integers or floats.
        low: percentile in [0, 100].
        high: percentile in [0, 100].

    Returns:
        For each channel the two values, as ``numpy.percentile`` gives them, or None where every
        pixel is zero.
    """
    if image.dtype in _COUNTED:
        return [_ranked_pair(counts, low, high) for counts in _histograms(image)]
    found: list[Limits] = []
    for values in _sample(image).T:
        good = values[(values != 0) & np.isfinite(values)]
        bottom, top = np.percentile(good, [low, high]) if good.size else (0.0, 0.0)
        found.append((float(bottom), float(top)) if good.size else None)
    return found


def _histograms(image: Pixels) -> NDArray[np.int64]:
    """(C, levels) pixels of each grey level."""
    levels = np.iinfo(image.dtype).max + 1
    counts = np.zeros((image.shape[2], levels), np.int64)
    for y0, x0, y1, x1 in blocks(image.shape, _BLOCK):
        block = image[y0:y1, x0:x1]
        for c in range(len(counts)):
            counts[c] += np.bincount(block[:, :, c].ravel(), minlength=levels)
    return counts


def _sample(image: Pixels) -> NDArray[Any]:
    """(N, C) pixels: all of them, or some at random where there are too many."""
    share = _MOST_VALUES / (image.shape[0] * image.shape[1])
    rng = np.random.default_rng(0)
    parts = []
    for y0, x0, y1, x1 in blocks(image.shape, _BLOCK):
        block = image[y0:y1, x0:x1].reshape(-1, image.shape[2])
        if share < 1:
            block = block[rng.integers(len(block), size=round(share * len(block)))]
        parts.append(block)
    return np.concatenate(parts)


def _ranked_pair(counts: NDArray[np.int64], low: float, high: float) -> Limits:
    """Two percentiles of the levels above 0, from their histogram."""
    below = np.cumsum(np.append(0, counts[1:]))
    last = int(below[-1]) - 1
    if last < 0:
        return None
    return _ranked(below, low / 100 * last), _ranked(below, high / 100 * last)


def _ranked(below: NDArray[np.int64], rank: float) -> float:
    """The grey level at a fractional 0-based rank, from a cumulative histogram."""
    first, second = np.searchsorted(below, [np.floor(rank), np.ceil(rank)], side="right")
    return float(first + (second - first) * (rank - np.floor(rank)))


def _rescale(values: NDArray[Any], limits: Limits) -> NDArray[np.uint8]:
    """Values between limits to [0, 255], clipped; where the two are equal, non-zero is 255."""
    if limits is None:
        return np.zeros(values.shape, np.uint8)
    bottom, top = limits
    finite = np.nan_to_num(values.astype(np.float64), posinf=top, neginf=min(bottom, 0.0))
    if top <= bottom:
        return np.where(finite != 0, np.uint8(255), np.uint8(0))
    unit = (finite - bottom) / (top - bottom)
    return np.rint(np.clip(unit, 0.0, 1.0) * 255.0).astype(np.uint8)
