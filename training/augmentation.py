"""Random changes of training images; each moves image and labels together.

Every function takes its own ``numpy.random.Generator``, so that a sample is a pure function of
its seed.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# A cell of which less than this share is left in a crop is not asked for.
_LEAST_VISIBLE = 0.25


def random_affine(
    rng: np.random.Generator,
    centre_xy: tuple[float, float],
    scale: float,
    rotation: float,
    size: tuple[int, int],
) -> NDArray[np.float64]:
    """A random similarity with flips.

    Args:
        centre_xy: image point that lands in the middle of the crop.
        scale: pixels of the crop per pixel of the image.
        rotation: probability of an angle that is not a multiple of 90 degrees.
        size: (H, W) of the crop.

    Returns:
        (2, 3) float64, image xy to crop xy, both with pixel centres at whole numbers.
    """
    angle = math.pi / 2 * rng.integers(4)
    if rng.random() < rotation:
        angle += rng.uniform(-math.pi / 4, math.pi / 4)
    flip = rng.choice([-1.0, 1.0])
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cos * flip, -sin], [sin * flip, cos]])
    middle = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    return np.column_stack((linear, middle - linear @ np.asarray(centre_xy)))


def warp(
    image: NDArray[np.uint8],
    label: NDArray[np.uint16],
    affine: NDArray[np.float64],
    size: tuple[int, int],
    fill: int,
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Move image and label image by the same affine map.

    Args:
        image: (H, W, 3) uint8.
        label: (H, W) uint16 label image.
        affine: (2, 3), image xy to crop xy.
        size: (H, W) of the crop.
        fill: grey level outside the image.

    Returns:
        The crop, (size, 3) uint8, bilinear, and its label image, nearest neighbour, 0 outside.
    """
    flat = (size[1], size[0])
    colour = (fill, fill, fill)
    moved = cv2.warpAffine(image, affine, flat, flags=cv2.INTER_LINEAR, borderValue=colour)
    moved_label = cv2.warpAffine(label, affine, flat, flags=cv2.INTER_NEAREST)
    return np.asarray(moved, np.uint8), np.asarray(moved_label, np.uint16)


def label_boxes(
    label: NDArray[np.uint16], full_areas: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The tight box of each instance.

    Args:
        label: (H, W) label image.
        full_areas: pixels that each id, by index, would have if nothing were cut off; instances
            with less than a quarter of theirs are left out.

    Returns:
        (N, 4) float32 xyxy, pixels of the label image, x1 and y1 the first outside; (N,) ids.
    """
    found = [(i, s) for i, s in enumerate(ndimage.find_objects(label), start=1) if s]
    if full_areas is not None and found:
        areas = np.bincount(label.ravel(), minlength=len(full_areas))
        found = [(i, s) for i, s in found if areas[i] >= _LEAST_VISIBLE * full_areas[i]]
    boxes = [(x.start, y.start, x.stop, y.stop) for _, (y, x) in found]
    ids = [i for i, _ in found]
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(ids, np.int64)


def jitter_box(
    rng: np.random.Generator, box_xyxy: NDArray[np.float32], most: float = 0.2
) -> NDArray[np.float32]:
    """Move each side of a box (4,) by up to ``most`` of half the box's length, in or out.

    Source: VSM paper, section 2.3 (BoxJitter).
    """
    centre = (box_xyxy[:2] + box_xyxy[2:]) / 2
    half = (box_xyxy[2:] - box_xyxy[:2]) / 2
    factors = rng.uniform(1 - most, 1 + most, 4)
    return np.concatenate((centre - half * factors[:2], centre + half * factors[2:])).astype(
        np.float32
    )


def photometric(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Change how an image was lit, stained, focused and recorded, but not where anything is.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (H, W, 3) uint8.
    """
    if rng.random() < 0.15:
        grey = image.mean(2, dtype=np.float32).astype(np.uint8)
        image = np.repeat(grey[:, :, None], 3, 2)
    elif rng.random() < 0.2:
        image = _mix_channels(rng, image)
    elif rng.random() < 0.5:
        image = _shift_hue(rng, image)
    toned = cv2.LUT(np.ascontiguousarray(image), _tone_tables(rng))
    if rng.random() < 0.2:
        toned = cv2.GaussianBlur(toned, (0, 0), rng.uniform(0.4, 2.5))
    if rng.random() < 0.2:
        noise = rng.normal(0.0, rng.uniform(2.0, 16.0), toned.shape[:2]).astype(np.float32)
        toned = np.clip(toned + noise[:, :, None], 0, 255)
    if rng.random() < 0.1:
        return _dim_with_hot_pixels(rng, toned.astype(np.uint8))
    return toned.astype(np.uint8)


def _mix_channels(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Permute the channels; of some images one is dropped, or all but one, as in fluorescence."""
    mixed = image[:, :, rng.permutation(3)]
    if rng.random() < 0.4:
        mixed[:, :, rng.permutation(3)[: rng.integers(1, 3)]] = 0
    return mixed


def _dim_with_hot_pixels(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A short exposure: all levels low but those of a few defective pixels."""
    dim = (image * rng.uniform(0.2, 0.7)).astype(np.uint8)
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


def _tone_tables(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Contrast, brightness and gamma, a little different in each channel; seldom inverted.

    Contrast above 1 saturates the brightest pixels.
    """
    unit = np.linspace(0.0, 1.0, 256)[:, None]
    gamma = math.exp(rng.normal(0.0, 0.25)) * np.exp(rng.normal(0.0, 0.05, 3))
    contrast = rng.uniform(0.6, 1.5) * rng.uniform(0.95, 1.05, 3)
    offset = rng.uniform(-0.1, 0.1)
    tone = np.clip(unit**gamma * contrast + offset, 0.0, 1.0)
    if rng.random() < 0.05:
        tone = 1.0 - tone
    return np.rint(tone * 255).astype(np.uint8)[None]
