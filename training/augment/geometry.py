"""Random changes of place: image, labels and boxes move together.

Every function takes its own ``numpy.random.Generator``, so that a sample is a pure function of
its seed.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Affine = NDArray[np.float64]
Size = tuple[int, int]

# A cell of which less than this share is left in a crop gets no box.
_MIN_VISIBLE = 0.25


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
    affine: Affine,
    size: Size,
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
    return np.asarray(moved, np.uint8), warp_label(label, affine, size)


def warp_label(label: NDArray[np.uint16], affine: Affine, size: Size) -> NDArray[np.uint16]:
    """The label image of ``warp`` alone, with its arguments."""
    moved = cv2.warpAffine(label, affine, (size[1], size[0]), flags=cv2.INTER_NEAREST)
    return np.asarray(moved, np.uint16)


def moved_boxes(boxes: NDArray[np.float32], affine: Affine, size: Size) -> NDArray[np.float32]:
    """Boxes round boxes (N, 4) xyxy that moved along, cut to the crop; (M, 4), those seen at all.

    Arguments as of ``warp``; a box reaches from the first pixel's edge to the last one's.
    """
    corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]] - 0.5
    moved = corners @ affine[:, :2].T + affine[:, 2] + 0.5
    found = np.concatenate((moved.min(1), moved.max(1)), 1)
    found = np.clip(found, 0, [size[1], size[0], size[1], size[0]])
    seen = (found[:, 2:] > found[:, :2]).all(1)
    return np.asarray(found[seen], np.float32)


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
        found = [(i, s) for i, s in found if areas[i] >= _MIN_VISIBLE * full_areas[i]]
    boxes = [(x.start, y.start, x.stop, y.stop) for _, (y, x) in found]
    ids = [i for i, _ in found]
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(ids, np.int64)


def jitter_box(
    rng: np.random.Generator, box_xyxy: NDArray[np.float32], max_share: float = 0.2
) -> NDArray[np.float32]:
    """Move each side of a box (4,) by at most a share of half the box's length, in or out.

    Source: VSM paper, section 2.3 (BoxJitter).
    """
    centre = (box_xyxy[:2] + box_xyxy[2:]) / 2
    half = (box_xyxy[2:] - box_xyxy[:2]) / 2
    factors = rng.uniform(1 - max_share, 1 + max_share, 4)
    return np.concatenate((centre - half * factors[:2], centre + half * factors[2:])).astype(
        np.float32
    )
