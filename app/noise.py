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
    flat = _without_slope(np.clip(picture, 2 * low - high, 2 * high - low))
    means = {scale: _means(flat, scale) for scale in (1, *_SCALES, 16, 32)}
    told = [means[scale] for scale in _SCALES if means[scale].size >= _MIN_MEANS]
    if not told:
        return False
    if _roughness(means[2]) <= _MAX_WHITE_FALL * _roughness(means[1]):
        told = told[-1:]  # of few photons only larger means are distributed normally
    return all(map(_is_normal, told)) and any(
        means[larger].size >= _MIN_FALL_MEANS
        and _roughness(means[larger]) <= _MAX_FALL * _roughness(means[smaller])
        for smaller, larger in _FALLS
    )


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


def _is_normal(means: NDArray[np.float32]) -> bool:
    values = means.astype(np.float64) - means.mean()
    deviation = values.std()
    if deviation == 0:
        return False
    unit = values / deviation
    skewness, kurtosis = (unit**3).mean(), (unit**4).mean() - 3
    return bool(
        abs(skewness) < _MAX_SKEWNESS + 2 * (6 / values.size) ** 0.5
        and abs(kurtosis) < _MAX_KURTOSIS + 2 * (24 / values.size) ** 0.5
    )


def _roughness(means: NDArray[np.float32]) -> float:
    """Mean square of the differences between neighbours."""
    down, across = np.diff(means, axis=0), np.diff(means, axis=1)
    return float((np.square(down).sum() + np.square(across).sum()) / (down.size + across.size))
