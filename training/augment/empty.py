"""Fields without a cell: the ground between the cells of real images, and pure noise."""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.augment.fields import slope, smooth_field, to_levels, vignette
from training.augment.geometry import Size, random_affine
from training.augment.limits import Levels, Recording

# Sources in which some cells have no label: what lies between their labels may be cells.
UNLABELLED_CELLS = (
    "neurips22_train_wbc",
    "wbc_",
    "usiigaci_t98g",
    "deepcell_phase",
    "neurips22_train_dic",
    "fluocells_sample",
    "all_early_leukemia",
    "pap_isbi2014_synth",
    "itmo_brightfield",
    "itmo_livecell_phase",
)

_MIN_SIDE = 64  # image pixels of a field that shows anything
_TRIES = 24


def find_field(
    rng: np.random.Generator, label: NDArray[np.uint16], ignored: NDArray[np.float32]
) -> tuple[int, int, int] | None:
    """A square without labels: y, x and side in pixels; None if a few random tries find none.

    Args:
        label: (H, W).
        ignored: (M, 4) xyxy of what may be cells without a label; none lies in the square.
    """
    max_side = min(*label.shape, 512)
    if max_side < _MIN_SIDE:
        return None
    for _ in range(_TRIES):
        side = int(math.exp(rng.uniform(math.log(_MIN_SIDE), math.log(max_side + 1))))
        side = min(side, max_side)
        y, x = (int(rng.integers(length - side + 1)) for length in label.shape)
        inside = (ignored[:, :2] < (x + side, y + side)) & (ignored[:, 2:] > (x, y))
        if not label[y : y + side, x : x + side].any() and not inside.all(1).any():
            return y, x, side
    return None


def real_field(
    rng: np.random.Generator,
    recording: Recording,
    field: tuple[int, int, int],
    scale: float,
    size: Size,
) -> tuple[Levels, NDArray[np.float32]]:
    """A square of a recording, mirrored at its edges until it fills a crop.

    Args:
        field: y, x and side of the square, as ``find_field`` gives them.
        scale: crop pixels per image pixel.
        size: (H, W) of the crop.

    Returns:
        (size) or (size, C), of the recording's dtype; (C, 2) the limits that prediction would
        take for an image that shows just this.
    """
    y, x, side = field
    square: NDArray[Any] = recording.levels[0][y : y + side, x : x + side].copy()
    affine = random_affine(rng, (side / 2, side / 2), scale, 0.0, size)
    crop = cv2.warpAffine(square, affine, (size[1], size[0]), borderMode=cv2.BORDER_REFLECT)
    values = square.reshape(side * side, -1)
    limits = np.percentile(values, (1.0, 99.0), axis=0).T
    return crop, np.asarray(limits, np.float32)  # type: ignore[return-value]


def noise_field(rng: np.random.Generator, size: Size) -> NDArray[np.uint8]:
    """Noise, clouds or gradients of a few grey levels, as normalising stretches them; or nothing.

    Args:
        size: (H, W).

    Returns:
        (H, W, 3) uint8.
    """
    kind = rng.random()
    if kind < 0.15:
        return np.full((*size, 3), rng.integers(0, 256, 3 if rng.random() < 0.3 else 1), np.uint8)
    channels = 1 if rng.random() < 0.6 else 3
    planes = []
    for _ in range(channels):
        field = (slope, vignette)[rng.integers(2)](rng, size)
        if rng.random() < 0.5:
            field = smooth_field(rng, size, int(rng.integers(2, 40)))
        plane = field * np.float32(rng.uniform(0.0, 255.0))
        grain = rng.standard_normal(size, np.float32)
        if rng.random() < 0.6:
            width = rng.uniform(0.4, 4.0)
            grain = cv2.GaussianBlur(grain, (0, 0), width) * np.float32(3 * width)
        plane += grain * np.float32(rng.uniform(5.0, 70.0)) + np.float32(rng.uniform(0, 120))
        planes.append(to_levels(plane))
    picture = cv2.merge(planes * (3 // channels))
    if rng.random() < 0.4:  # few grey levels were recorded
        step = int(rng.choice((16, 32, 64, 85)))
        picture = picture // step * step
    return np.asarray(picture, np.uint8)
