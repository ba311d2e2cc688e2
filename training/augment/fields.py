"""Smooth random fields: what lighting, staining and background vary by across a picture."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray


def smooth_field(
    rng: np.random.Generator, size: tuple[int, int], knots: int
) -> NDArray[np.float32]:
    """A field without detail.

    Args:
        size: (H, W).
        knots: random values along each side, between which the field is interpolated.

    Returns:
        (H, W) float32 in [0, 1].
    """
    values = rng.random((knots, knots), np.float32)
    field = cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(field, 0.0, 1.0), np.float32)


def slope(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """A plane that rises from 0 to 1 in a random direction: (H, W) float32."""
    angle = rng.uniform(0, 2 * math.pi)
    x = np.linspace(-1.0, 1.0, size[1], dtype=np.float32) * np.float32(math.cos(angle))
    y = np.linspace(-1.0, 1.0, size[0], dtype=np.float32) * np.float32(math.sin(angle))
    reach = abs(math.cos(angle)) + abs(math.sin(angle))
    return np.asarray((x[None] + y[:, None]) / (2 * reach) + 0.5, np.float32)


def vignette(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """1 in a point near the middle, less by the square of the distance, 0 in the far corner.

    Returns:
        (H, W) float32 in [0, 1].
    """
    cy, cx = rng.uniform(0.3, 0.7, 2)
    x = (np.linspace(0.0, 1.0, size[1], dtype=np.float32) - np.float32(cx)) ** 2
    y = (np.linspace(0.0, 1.0, size[0], dtype=np.float32) - np.float32(cy)) ** 2
    far = x[None] + y[:, None]
    return np.asarray(1.0 - far / far.max(), np.float32)


def to_levels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey levels: clipped to [0, 255] and rounded down, uint8 of the same shape."""
    return np.asarray(np.clip(values, 0.0, 255.0), np.uint8)
