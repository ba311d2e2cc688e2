"""Any channels and any depth in, three 8-bit channels out, the same for training and prediction."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_LAST_ALPHA = 4


def normalise(image: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Rescale each channel between two of its percentiles and give the image three channels.

    One channel is copied to three. Of two channels the third stays black. Of four the last is
    taken for alpha and dropped. Of five and more the brightest channel at each pixel, after
    rescaling, is copied to three, so that no stain is lost.

    Args:
        image: (H, W) or (H, W, C), integers, floats or booleans; NaN counts as 0.
        low: percentile that becomes 0, in [0, 100].
        high: percentile that becomes 255, in [0, 100], above ``low``.

    Returns:
        (H, W, 3) uint8, contiguous.

    Source: VSM paper, section 2.2 (channel alignment and intensity rescaling), after the
    challenge's baseline, which takes the percentiles over the non-zero pixels.
    """
    if image.ndim == 2:
        image = image[:, :, None]
    if image.shape[2] == _LAST_ALPHA:
        image = image[:, :, :3]
    channels = [_rescale_channel(image[:, :, c], low, high) for c in range(image.shape[2])]
    if len(channels) == 2:
        channels.append(np.zeros_like(channels[0]))
    if len(channels) > 3:
        channels = [np.maximum.reduce(channels)]
    return np.ascontiguousarray(cv2.merge(channels * 3 if len(channels) == 1 else channels))


def percentile_range(
    channel: NDArray[np.generic], low: float, high: float
) -> tuple[float, float] | None:
    """Two percentiles over the finite non-zero pixels of a channel, linearly interpolated.

    Args:
        channel: (H, W), integers or floats.
        low: percentile in [0, 100].
        high: percentile in [0, 100].

    Returns:
        The two values, as ``numpy.percentile`` gives them, or None where every pixel is zero.
    """
    if channel.dtype in (np.uint8, np.uint16):
        counts = np.bincount(channel.ravel())
        counts[0] = 0
        below = np.cumsum(counts)
        total = int(below[-1])
        if not total:
            return None
        return _ranked(below, low / 100 * (total - 1)), _ranked(below, high / 100 * (total - 1))
    values = channel[(channel != 0) & np.isfinite(channel)]
    if not values.size:
        return None
    bottom, top = np.percentile(values, [low, high])
    return float(bottom), float(top)


def _ranked(below: NDArray[np.int64], rank: float) -> float:
    """The grey level at a fractional 0-based rank, from a cumulative histogram."""
    first, second = np.searchsorted(below, [np.floor(rank), np.ceil(rank)], side="right")
    return float(first + (second - first) * (rank - np.floor(rank)))


def _rescale_channel(channel: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    if channel.dtype == np.bool_:
        channel = channel.astype(np.uint8)
    limits = percentile_range(channel, low, high)
    if limits is None:
        return np.zeros(channel.shape, np.uint8)
    # Of few grey levels each is rescaled once, then looked up.
    if channel.dtype == np.uint8:
        table = _rescale(np.arange(2**8), *limits)
        return np.asarray(cv2.LUT(np.ascontiguousarray(channel), table), np.uint8)
    if channel.dtype == np.uint16:
        return _rescale(np.arange(2**16), *limits).take(channel)
    return _rescale(channel, *limits)


def _rescale(values: NDArray[Any], bottom: float, top: float) -> NDArray[np.uint8]:
    """Values from [bottom, top] to [0, 255], clipped; where the two are equal, non-zero is 255."""
    finite = np.nan_to_num(values.astype(np.float64), posinf=top, neginf=min(bottom, 0.0))
    if top <= bottom:
        return np.where(finite != 0, np.uint8(255), np.uint8(0))
    unit = (finite - bottom) / (top - bottom)
    return np.rint(np.clip(unit, 0.0, 1.0) * 255.0).astype(np.uint8)
