"""Any channels and any depth in, three 8-bit channels out, the same for training and prediction."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .files.arrays import Pixels
from .levels import Levels, survey

# The grey levels that become 0 and 255; None where nothing of a channel is shown.
Limits = tuple[float, float] | None
_COUNTED = (np.uint8, np.uint16)


class Normalised:
    """An image in 8 bits and three channels, made of any part when it is asked for.

    Each channel is rescaled between two grey levels, which are those of the whole image. One
    channel is copied to three, of none the image is black, of two the third stays black. Of four
    and more the brightest at each pixel, after rescaling, is copied to three, so that no stain is
    lost.

    Args:
        image: (H, W, C), integers or floats; NaN counts as 0.
        limits: of each channel that is shown, in order.
        channels: their numbers from 0, in the same order; all of them by default.

    Attributes:
        shape: (H, W, 3).

    Source: VSM paper, section 2.2 (channel alignment and intensity rescaling).
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self, image: Pixels, limits: Sequence[Limits], channels: Sequence[int] | None = None
    ) -> None:
        self.image = image
        self.shape = (*image.shape[:2], 3)
        self.limits = tuple(limits)
        self.channels = tuple(range(image.shape[2]) if channels is None else channels)
        self._tables: list[NDArray[np.uint8]] | None = None
        if image.dtype in _COUNTED:
            # Of few grey levels each is rescaled once, then looked up.
            levels = np.arange(np.iinfo(image.dtype).max + 1)
            self._tables = [_rescale(levels, pair) for pair in self.limits]

    def __getitem__(self, window: tuple[slice, slice]) -> NDArray[np.uint8]:
        """(h, w, 3) uint8, contiguous."""
        block = self.image[window]
        shown = [self._channel(block[:, :, c], place) for place, c in enumerate(self.channels)]
        if not shown:
            shown.append(np.zeros(block.shape[:2], np.uint8))
        if len(shown) == 2:
            shown.append(np.zeros_like(shown[0]))
        if len(shown) > 3:
            shown = [np.maximum.reduce(shown)]
        return np.asarray(cv2.merge(shown * 3 if len(shown) == 1 else shown), np.uint8)

    def _channel(self, values: NDArray[Any], place: int) -> NDArray[np.uint8]:
        if self._tables is None:
            return _rescale(values, self.limits[place])
        if values.dtype == np.uint8:
            table = self._tables[place]
            return np.asarray(cv2.LUT(np.ascontiguousarray(values), table), np.uint8)
        return self._tables[place].take(values)


def normalise(image: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """A whole image, (H, W) or (H, W, C), between two percentiles: (H, W, 3) uint8."""
    if image.dtype == np.bool_:
        image = image.astype(np.uint8)
    whole = image if image.ndim == 3 else image[:, :, None]
    return Normalised(whole, percentile_limits(whole, low, high))[:, :]


def percentile_limits(image: Pixels, low: float, high: float) -> list[Limits]:
    """Two percentiles of each channel over the pixels that belong to the picture.

    Args:
        image: (H, W, C), integers or floats.
        low: percentile in [0, 100].
        high: percentile in [0, 100].

    Returns:
        For each channel the two values, or None where every pixel is zero.

    Source: the challenge's baseline, which takes them over the non-zero pixels.
    """
    return [limits_of(levels, low, high) for levels in survey(image).channels]


def limits_of(levels: Levels, low: float, high: float) -> Limits:
    """Two percentiles of a channel; None where no pixel belongs to the picture."""
    if not levels.pixels:
        return None
    return levels.percentile(low), levels.percentile(high)


def _rescale(values: NDArray[Any], limits: Limits) -> NDArray[np.uint8]:
    """Values between limits to [0, 255], clipped; where the two are equal, non-zero is 255."""
    if limits is None:
        return np.zeros(values.shape, np.uint8)
    bottom, top = limits
    with np.errstate(over="ignore"):  # what becomes infinite is black or white
        finite = np.nan_to_num(values.astype(np.float64), posinf=top, neginf=min(bottom, 0.0))
        if top <= bottom:
            return np.where(finite != 0, np.uint8(255), np.uint8(0))
        if np.isinf(np.subtract(top, bottom)):
            finite, bottom, top = finite / 2, bottom / 2, top / 2
        unit = (finite - bottom) / (top - bottom)
    return np.rint(np.clip(unit, 0.0, 1.0) * 255.0).astype(np.uint8)
