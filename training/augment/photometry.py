"""Random changes of light, stain, focus and tone; nothing moves.

Every function takes its own ``numpy.random.Generator``, so that a sample is a pure function of
its seed.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from training.augment.fields import to_levels


def photometric(
    rng: np.random.Generator,
    image: NDArray[np.uint8],
    max_blur: float = 2.5,
    inverted: float = 0.05,
    drop: bool = True,
    about_mean: bool = False,
) -> NDArray[np.uint8]:
    """Change how an image was lit, stained, focused and recorded, but not where anything is.

    Args:
        image: (H, W, 3) uint8.
        max_blur: largest standard deviation of a blur, pixels.
        inverted: probability that dark becomes bright.
        drop: a channel may be lost; not where it alone may show the cells.
        about_mean: contrast changes about the mean level instead of about black, so that cells on
            bright ground do not vanish in white.

    Returns:
        (H, W, 3) uint8.
    """
    if rng.random() < 0.15:
        grey = image.mean(2, dtype=np.float32).astype(np.uint8)
        image = np.repeat(grey[:, :, None], 3, 2)
    elif rng.random() < 0.2:
        image = _mix_channels(rng, image, drop)
    elif rng.random() < 0.5:
        image = _shift_hue(rng, image)
    pivot = float(image[::8, ::8].mean()) / 255 if about_mean else 0.0
    toned = cv2.LUT(np.ascontiguousarray(image), _tone_tables(rng, inverted, pivot))
    if rng.random() < 0.2:
        toned = cv2.GaussianBlur(toned, (0, 0), rng.uniform(0.3, max(0.4, max_blur)))
    if rng.random() < 0.2:
        strength = np.float32(rng.uniform(2.0, 16.0))
        noise = strength * rng.standard_normal(toned.shape[:2], np.float32)
        toned = to_levels(toned + noise[:, :, None])
    if rng.random() < 0.1:
        return _dim_with_hot_pixels(rng, toned.astype(np.uint8))
    return toned.astype(np.uint8)


def _mix_channels(
    rng: np.random.Generator, image: NDArray[np.uint8], drop: bool
) -> NDArray[np.uint8]:
    """Permute the channels; of some images one is dropped, or all but one, as in fluorescence."""
    mixed = image[:, :, rng.permutation(3)]
    if drop and rng.random() < 0.4:
        mixed[:, :, rng.permutation(3)[: rng.integers(1, 3)]] = 0
    return mixed


def _dim_with_hot_pixels(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A short exposure: all levels low but those of a few defective pixels."""
    dim = (image * rng.uniform(0.35, 0.8)).astype(np.uint8)
    hot = rng.random(dim.shape[:2]) < rng.uniform(0.0, 0.002)
    dim[hot] = 255
    return dim


def _shift_hue(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV)
    levels = np.arange(256)
    hue = (levels + rng.integers(-18, 19)) % 180
    saturation = np.clip(levels * rng.uniform(0.6, 1.4), 0, 255)
    tables = np.stack((hue, saturation, levels), 1).astype(np.uint8)[None]
    return np.asarray(cv2.cvtColor(cv2.LUT(hsv, tables), cv2.COLOR_HSV2RGB), np.uint8)


def _tone_tables(rng: np.random.Generator, inverted: float, pivot: float) -> NDArray[np.uint8]:
    """Contrast, brightness and gamma, a little different in each channel.

    Contrast above 1 saturates the pixels that are farthest from the pivot, in [0, 1].
    """
    unit = np.linspace(0.0, 1.0, 256)[:, None]
    gamma = math.exp(rng.normal(0.0, 0.25)) * np.exp(rng.normal(0.0, 0.05, 3))
    contrast = rng.uniform(0.6, 1.5) * rng.uniform(0.95, 1.05, 3)
    offset = rng.uniform(-0.1, 0.1)
    middle = pivot**gamma
    tone = np.clip((unit**gamma - middle) * contrast + middle + offset, 0.0, 1.0)
    if rng.random() < inverted:
        tone = 1.0 - tone
    return np.rint(tone * 255).astype(np.uint8)[None]
