"""What a camera recorded, kept so that it can be shown between any two limits of brightness.

Prediction shows an image between two fixed percentiles. What lies above them is lost there, and a
network that has seen no other choice depends on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.uint8] | NDArray[np.uint16]

# The percentiles, over the pixels that are not zero, that are known of each channel.
_LOW = (0.0, 0.1, 0.5, 1.0, 2.0, 3.0)
_HIGH = (90.0, 95.0, 97.0, 98.0, 99.0, 99.5, 99.9, 99.99, 100.0)
_LOW_SHARES = (0.2, 0.1, 0.15, 0.3, 0.15, 0.1)
_HIGH_SHARES = (0.04, 0.08, 0.2, 0.1, 0.08, 0.2, 0.15, 0.08, 0.07)
_MIN_CONTRAST = (
    20.0  # grey levels between cells and background, below which other limits are not taken
)
_MIN_SIDE = 48  # pixels along the shorter side of a shrunk copy
_MAX_SATURATED = 0.8  # pixels that become white on dark ground, to pixels that are cells
_MAX_COUNTED = 2**20  # pixels from which contrast is estimated


@dataclass(frozen=True)
class Recording:
    """An image at its own depth, with copies of half the size, of a quarter, and so on.

    levels: (H, W) of a grey image, else (H, W, C) with C from 2 to 4; uint8 or uint16. Each is
        half the size of the one before, rounded down.
    usual: (C, 2) float32, the values between which prediction shows each channel.
    percentiles: (C, 15) float32, the values of the percentiles that other limits are drawn from.
    contrast: (C,) float32, by how much cells differ from the background, or within themselves.
    covered: the share of the pixels that are cells.
    """

    levels: tuple[Levels, ...]
    usual: NDArray[np.float32]
    percentiles: NDArray[np.float32]
    contrast: NDArray[np.float32]
    covered: float

    @property
    def grey(self) -> bool:
        return self.levels[0].ndim == 2


def record(
    raw: NDArray[Any],
    image: NDArray[np.uint8],
    usual: Sequence[tuple[float, float] | None],
    label: NDArray[np.uint16],
) -> Recording:
    """Keep an image as it was read.

    Args:
        raw: (H, W) or (H, W, C), any integers or floats.
        image: (H, W, 3) uint8, the same normalised; kept in place of more than four channels.
        usual: of each channel the limits of brightness in prediction; None if all of it is zero.
        label: (H, W) label image.
    """
    if raw.ndim == 3 and raw.shape[2] > 4:
        raw, usual = image, [(0.0, 255.0)] * 3
    whole, offset, factor = _to_levels(raw)
    shown = [
        ((low - offset) * factor, (high - offset) * factor) for low, high in map(_known, usual)
    ]
    if whole.ndim == 3 and (whole == whole[:, :, :1]).all():
        whole = whole[:, :, 0].copy()
    channels = [whole] if whole.ndim == 2 else [whole[:, :, c] for c in range(whole.shape[2])]
    percentiles = np.stack([_percentiles(channel) for channel in channels])
    step = max(1, round((label.size / _MAX_COUNTED) ** 0.5))
    cells = label[::step, ::step] > 0
    contrast = [_contrast(channel[::step, ::step], cells) for channel in channels]
    levels: list[Levels] = [whole]
    while min(levels[-1].shape[:2]) >= 2 * _MIN_SIDE:
        height, width = (side // 2 for side in levels[-1].shape[:2])
        even = levels[-1][: 2 * height, : 2 * width]
        half: Any = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
        levels.append(half)
    return Recording(
        tuple(levels),
        np.array(shown[: len(channels)], np.float32),
        percentiles,
        np.array(contrast, np.float32),
        float(cells.mean()),
    )


def draw_limits(
    rng: np.random.Generator, recording: Recording, share: float, dark: bool
) -> NDArray[np.float32]:
    """Two limits of each channel; one draw of two percentiles holds for all channels.

    Limits between which the cells would hardly be seen give way to the usual ones.

    Args:
        share: probability of other percentiles than prediction's.
        dark: the ground is dark, and becomes no brighter than the cells; else the 97th percentile
            is the lowest that leaves cells on bright ground.

    Returns:
        (C, 2) float32, the values that become 0 and 255.
    """
    usual = recording.usual
    if rng.random() >= share:
        return usual
    low = int(rng.choice(len(_LOW), p=_LOW_SHARES))
    high = len(_LOW) + int(rng.choice(len(_HIGH), p=_HIGH_SHARES))
    darkest = 100 - max(1.0, _MAX_SATURATED * 100 * recording.covered) if dark else 97.0
    high = max(high, len(_LOW) + int(np.searchsorted(_HIGH, darkest)))
    drawn = recording.percentiles[:, [low, high]]
    width = np.maximum(drawn[:, 1] - drawn[:, 0], 1e-6)
    wanted = min(_MIN_CONTRAST, float((recording.contrast / _width(usual)).max() * 255))
    seen = bool((recording.contrast / width * 255).max() >= wanted)
    return drawn if seen else usual


def show(values: Levels, limits: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Rescale what was recorded between limits, as ``app.normalise`` does.

    Args:
        values: (H, W) or (H, W, C), uint8 or uint16.
        limits: (C, 2).

    Returns:
        (H, W) uint8 of a grey recording, else (H, W, 3): of two channels the third stays black, of
        four the brightest is copied to three.
    """
    if values.ndim == 2:
        return _rescale(values, limits[0])
    channels = [_rescale(values[:, :, c], limits[c]) for c in range(values.shape[2])]
    if len(channels) == 2:
        channels.append(np.zeros_like(channels[0]))
    if len(channels) > 3:
        channels = [np.maximum.reduce(channels)] * 3
    return np.asarray(cv2.merge(channels), np.uint8)


def _rescale(values: Levels, limits: NDArray[np.float32]) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        table = _between(np.arange(256, dtype=np.float32), limits)
        return np.asarray(cv2.LUT(np.ascontiguousarray(values), table), np.uint8)
    return _between(values.astype(np.float32), limits)


def _between(values: NDArray[np.float32], limits: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = limits
    if high <= low:  # as in prediction, where only what is not zero can be told
        return np.asarray((values != 0) * np.uint8(255), np.uint8)
    scaled = (values - low) * np.float32(255.0 / (high - low)) + np.float32(0.5)
    return np.asarray(np.clip(scaled, 0.0, 255.0), np.uint8)


def _to_levels(raw: NDArray[Any]) -> tuple[Levels, float, float]:
    """Any depth to 8 or 16 bits; 0 stays 0 where nothing is negative.

    Returns:
        The levels; the offset that was taken from what was read, and the factor then applied.
    """
    if raw.dtype == np.uint8 or raw.dtype == np.uint16:
        return np.ascontiguousarray(raw), 0.0, 1.0
    if raw.dtype == np.bool_:
        return raw.astype(np.uint8), 0.0, 1.0
    values = np.nan_to_num(raw.astype(np.float32), posinf=0.0, neginf=0.0)
    offset = min(float(values.min()), 0.0)
    factor = 65535.0 / max(float(values.max()) - offset, 1e-12)
    return np.asarray((values - offset) * factor, np.uint16), offset, factor


def _known(limits: tuple[float, float] | None) -> tuple[float, float]:
    return limits or (0.0, 0.0)


def _percentiles(channel: Levels) -> NDArray[np.float32]:
    counts = np.bincount(channel.ravel())
    below = np.cumsum(counts[1:]) if len(counts) > 1 else np.zeros(1, np.int64)
    if below[-1] == 0:
        return np.zeros(len(_LOW) + len(_HIGH), np.float32)
    ranks = np.array((*_LOW, *_HIGH)) / 100 * (below[-1] - 1)
    return np.asarray(1 + np.searchsorted(below, ranks, side="right"), np.float32)


def _contrast(channel: Levels, cells: NDArray[np.bool_]) -> float:
    inside, outside = channel[cells], channel[~cells]
    if not inside.size:
        return 0.0
    apart = abs(float(inside.mean()) - float(outside.mean())) if outside.size else 0.0
    return max(apart, float(inside.std()))


def _width(limits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.maximum(limits[:, 1] - limits[:, 0], 1e-6), np.float32)
