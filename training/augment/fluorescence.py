"""Coloured pictures of several stains, made of one grey fluorescence image and its labels.

Nearly all labelled fluorescence is grey, but most of what people have shows nuclei in one colour
and membranes or cytoplasm in others. The labels stay those of the grey image.
"""

from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.augment.fields import smooth_field, to_levels

_PURE = np.array([c for c in product((0.0, 1.0), repeat=3) if any(c)][:-1], np.float32)
_SHARES_OF_STAINS = (0.35, 0.45, 0.2)  # probabilities of one, two and three stains


def stain(
    rng: np.random.Generator, grey: NDArray[np.uint8], label: NDArray[np.uint16], side: float
) -> NDArray[np.uint8]:
    """Show a grey image in a colour, with other stains of the same cells in other colours.

    Args:
        grey: (H, W) uint8, bright cells on dark ground.
        label: (H, W) label image.
        side: a typical cell's, in pixels.

    Returns:
        (H, W, 3) uint8.
    """
    count = 1 + int(rng.choice(3, p=_SHARES_OF_STAINS))
    colours = draw_colours(rng, count)
    size = (grey.shape[0], grey.shape[1])
    picture = grey[:, :, None] * colours[0] * np.float32(rng.uniform(0.7, 1.0))
    for colour in colours[1:]:
        kind = rng.random()
        if kind < 0.45:
            layer = membranes(rng, label, side)
        elif kind < 0.75:
            layer = cytoplasm(rng, grey, label, side)
        elif kind < 0.9:
            layer = elsewhere(rng, grey, side)
        else:
            layer = 255 * smooth_field(rng, size, int(rng.integers(4, 12)))
        picture += (layer * np.float32(rng.uniform(0.25, 0.9)))[:, :, None] * colour
    if rng.random() < 0.3:
        # Of a channel that holds nothing, normalising makes noise.
        empty = int(np.argmin(colours.max(0)))
        strength = np.float32(rng.uniform(3.0, 40.0))
        picture[:, :, empty] += np.abs(strength * rng.standard_normal(size, np.float32))
    return to_levels(picture)


def draw_colours(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Colours of stains, mostly one or two whole channels each, and the first not the others'.

    Returns:
        (count, 3) float32 in [0, 1].
    """
    pure = _PURE[rng.permutation(len(_PURE))[:count]]
    if rng.random() < 0.5:
        pure = np.eye(3, dtype=np.float32)[rng.permutation(3)[:count]]
    mixed = rng.random((count, 3), np.float32)
    mixed /= mixed.max(1, keepdims=True)
    return np.where(rng.random((count, 1)) < 0.3, mixed, pure).astype(np.float32)


def membranes(
    rng: np.random.Generator, label: NDArray[np.uint16], side: float
) -> NDArray[np.float32]:
    """Lines round the cells, at some distance from their labels, where they meet as one line.

    Returns:
        (H, W) float32 in [0, 255], broken up.
    """
    reach = max(1.0, side * rng.uniform(0.03, 0.6))
    wide = _expanded(label, reach)
    edge = np.zeros(label.shape, np.float32)
    edge[:, 1:] += wide[:, 1:] != wide[:, :-1]
    edge[1:] += wide[1:] != wide[:-1]
    width = float(np.clip(side * rng.uniform(0.02, 0.07), 0.6, 4.0))
    line = np.asarray(cv2.GaussianBlur(edge, (0, 0), width), np.float32)
    size = (label.shape[0], label.shape[1])
    patches = smooth_field(rng, size, int(rng.integers(4, 24))) * np.float32(1.6) - np.float32(0.2)
    inside = np.float32(rng.uniform(0.0, 0.25)) * (wide > 0)
    bright = line * np.float32(2.2 * width) * np.clip(patches, 0.05, 1.0) + inside
    return np.asarray(np.clip(255 * bright, 0, 255), np.float32)


def cytoplasm(
    rng: np.random.Generator, grey: NDArray[np.uint8], label: NDArray[np.uint16], side: float
) -> NDArray[np.float32]:
    """A soft stain in and around the cells, of uneven strength, with or without the nuclei.

    Returns:
        (H, W) float32 in [0, 255].
    """
    reach = max(1.0, side * rng.uniform(0.1, 0.6))
    body = (_expanded(label, reach) > 0).astype(np.float32)
    soft: NDArray[Any] = cv2.GaussianBlur(body, (0, 0), float(np.clip(reach / 2, 0.6, 8.0)))
    size = (label.shape[0], label.shape[1])
    soft *= np.float32(0.35) + np.float32(0.65) * smooth_field(rng, size, int(rng.integers(3, 20)))
    if rng.random() < 0.4:
        soft *= 1 - grey * np.float32(rng.uniform(0.3, 1.0) / 255)
    return np.asarray(255 * np.clip(soft, 0, 1), np.float32)


def elsewhere(
    rng: np.random.Generator, grey: NDArray[np.uint8], side: float
) -> NDArray[np.float32]:
    """Other structures that are no cells: the image itself, mirrored and far out of focus.

    Returns:
        (H, W) float32 in [0, 255].
    """
    turned = grey[::-1, ::-1] if rng.random() < 0.5 else grey[:, ::-1]
    blur = float(np.clip(side * rng.uniform(0.5, 1.0), 3.0, 20.0))
    # As blurred, and quicker, on a smaller copy.
    small = cv2.resize(turned, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), blur / 4)
    return np.asarray(cv2.resize(small, grey.shape[1::-1]), np.float32)


def _expanded(label: NDArray[np.uint16], reach: float) -> NDArray[np.uint16]:
    """Each cell grown by some pixels, up to where it meets another."""
    ground = (label == 0).astype(np.uint8)
    if ground.all():
        return label
    distance, nearest = cv2.distanceTransformWithLabels(
        ground, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    cells = label > 0
    ids = np.zeros(int(nearest.max()) + 1, np.uint16)
    ids[nearest[cells]] = label[cells]
    wide = ids[nearest]
    wide[distance > reach] = 0
    return wide
