"""Whether a picture shows anything beyond noise.

What a camera adds to nothing is normally distributed, and its means over larger and larger blocks
soon differ less, however it was smoothed. Pictures of cells fail one or the other: of 2,642
channels of real images only some of stained tissue are as normal, and there block means keep
differing (python -m benchmarks.look --noise).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

_SCALES = (2, 4, 8)  # pixels along each side of the means whose distribution is looked at
_FALLS = ((8, 16), (16, 32))  # of one of these pairs the larger means must differ less
_MAX_FALL = 0.7  # their mean squares of differences between neighbours, as a share
_MAX_WHITE_FALL = 0.3  # the same from pixels to means of 2 x 2, where neighbours are independent
_MAX_SKEWNESS, _MAX_KURTOSIS = 0.2, 0.4  # beside twice the error of an estimate
# Where grey levels are few, or the steps of JPEG large, what is asked of the largest means instead:
# so few levels, such a fall, such a skewness and kurtosis.
_MAX_LEVELS, _MAX_ROUNDED_FALL, _MAX_ROUNDED = 24, 0.33, (0.5, 2.0)
# And all parts of so many pixels along each side are as rough as most, but for this factor.
_PART, _MAX_UNEVEN = 64, 3.0
_MIN_MEANS = 200  # fewer tell too little
_MIN_FALL_MEANS = 60
_CLIPPED = (0.1, 99.9)  # percentiles; further out than their distance lie defective pixels


def is_noise(picture: NDArray[np.float32]) -> bool:
    """Whether nothing stands out of a picture's noise, white or smooth.

    Args:
        picture: (H, W) float32.

    Returns:
        False for one that is too small to tell.
    """
    low, high = np.percentile(picture, _CLIPPED)
    clipped = np.clip(picture, 2 * low - high, 2 * high - low)
    flat = _without_slope(clipped)
    means = {scale: _means(flat, scale) for scale in (1, *_SCALES, 16, 32)}
    told = [means[scale] for scale in _SCALES if means[scale].size >= _MIN_MEANS]
    if not told:
        return False
    if _roughness(means[2]) <= _MAX_WHITE_FALL * _roughness(means[1]):
        told = told[-1:]  # of few photons only larger means are distributed normally
    pairs = [pair for pair in _FALLS if means[pair[1]].size >= _MIN_FALL_MEANS]
    falls = [_roughness(means[b]) / max(_roughness(means[a]), 1e-30) for a, b in pairs]
    if all(map(_is_normal, told)) and any(fall <= _MAX_FALL for fall in falls):
        return True
    # Rounded to few levels, or by JPEG, only the means of many pixels are those of noise.
    return bool(
        falls
        and falls[-1] <= _MAX_ROUNDED_FALL
        and _is_normal(means[pairs[-1][1]], *_MAX_ROUNDED)
        and len(np.unique(clipped)) <= _MAX_LEVELS
        and all(_is_uniform(means[scale], _PART // scale) for scale in (1, 8))
    )


def _is_uniform(means: NDArray[np.float32], side: int) -> bool:
    """Whether all parts of some side are as rough as most of them."""
    step = np.square(np.diff(means, axis=0)[:, 1:]) + np.square(np.diff(means, axis=1)[1:])
    parts = _means(step, side)
    if not parts.size:
        return False
    middle = float(np.median(parts))
    return bool(parts.max() <= _MAX_UNEVEN * middle and parts.min() * _MAX_UNEVEN >= middle)


def _without_slope(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """A picture less the quadratic surface that fits it best: how it was lit."""
    height, width = picture.shape
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)
    # One along each axis and their product; orthogonal enough to be fitted one by one.
    surfaces = [
        np.ones((1, 1)), x[None], y[:, None], (x**2)[None] - (x**2).mean(),
        (y**2)[:, None] - (y**2).mean(), y[:, None] * x,
    ]  # fmt: skip
    left = picture.astype(np.float64)
    for surface in surfaces:
        weight = np.broadcast_to(surface, picture.shape)
        left -= weight * ((left * weight).sum() / max((weight**2).sum(), 1e-12))
    return left.astype(np.float32)


def _means(picture: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    height, width = (side // scale for side in picture.shape)
    if not height or not width:
        return np.zeros((0, 0), np.float32)
    whole = picture[: height * scale, : width * scale]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _is_normal(
    means: NDArray[np.float32],
    max_skewness: float = _MAX_SKEWNESS,
    max_kurtosis: float = _MAX_KURTOSIS,
) -> bool:
    values = means.astype(np.float64) - means.mean()
    deviation = values.std()
    if deviation == 0:
        return False
    unit = values / deviation
    skewness, kurtosis = (unit**3).mean(), (unit**4).mean() - 3
    return bool(
        abs(skewness) < max_skewness + 2 * (6 / values.size) ** 0.5
        and abs(kurtosis) < max_kurtosis + 2 * (24 / values.size) ** 0.5
    )


def _roughness(means: NDArray[np.float32]) -> float:
    """Mean square of the differences between neighbours."""
    down, across = np.diff(means, axis=0), np.diff(means, axis=1)
    # In 64 bits, for sums of squares of the largest values would be infinite in 32.
    total = sum(float(np.square(part, dtype=np.float64).sum()) for part in (down, across))
    return total / (down.size + across.size)
