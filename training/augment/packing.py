"""Sparse cells made dense: copies of a crop's cells, turned and laid side by side.

Rods lie in bundles, as bacteria do, others at any angle. The background is the crop's own.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.augment.geometry import label_boxes

# Sources whose cells are rods.
RODS = ("omnipose_test_files", "ecoli_dapi_tractatus", "celltracker_thu_demo", "baby_ecoli_mm")

_MAX_COVERED = 0.3  # of a crop that is sparse
_DONORS = 8  # cells that are copied
_MAX_COPIES = 70
_OVERLAP = 0.04  # of a copy that may lie over another cell
_MIN_SIDE, _MAX_SIDE = 5, 0.3  # side of a copied cell: pixels; share of the crop's side


@dataclass(frozen=True)
class Donor:
    """A cell to copy.

    pixels: (h, w) uint8 with some of its surroundings; mask: (h, w) uint8, 255 in the cell.
    angle: of its longer axis, radians.
    bright: whether it is brighter than what surrounds it.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    angle: float
    bright: bool


def pack(
    rng: np.random.Generator,
    grey: NDArray[np.uint8],
    label: NDArray[np.uint16],
    areas: NDArray[np.float64],
    rods: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float64]]:
    """Lay copies of the cells of a sparse crop next to each other.

    Args:
        grey: (H, W) uint8.
        label: (H, W) label image.
        areas: pixels that each id, by index, would have if nothing were cut off.
        rods: lay them side by side.

    Returns:
        The three again, with the copies as new ids; the same where the crop is not sparse or has
        no whole cell of a good size.
    """
    if np.count_nonzero(label) > _MAX_COVERED * label.size:
        return grey, label, areas
    donors = _donors(rng, grey, label, areas)
    if not donors:
        return grey, label, areas
    picture, packed = grey.copy(), label.copy()
    new_areas = [areas]
    number = max(len(areas) - 1, int(label.max()))
    mean_area = float(np.mean([np.count_nonzero(donor.mask) for donor in donors]))
    copies = int(min(_MAX_COPIES, 0.5 * label.size / mean_area) * rng.uniform(0.3, 1.0))
    bundles = int(rng.integers(1, 4))
    for bundle in range(bundles):
        centre = rng.uniform(0.2, 0.8, 2) * label.shape
        direction = rng.uniform(0, math.pi)
        parallel = rng.random() < (0.75 if rods else 0.2)
        for _ in range(copies // bundles + (bundle == 0)):
            donor = donors[rng.integers(len(donors))]
            turn = rng.uniform(0, 2 * math.pi)
            if parallel:
                half_turns = math.pi * rng.integers(2)
                turn = direction - donor.angle + rng.normal(0.0, 0.12) + half_turns
            pixels, alpha = _turned(donor, turn)
            mask = alpha > 127
            place = _place(rng, packed, mask, centre)
            if place is None:
                continue
            number += 1
            window = np.s_[place[0] : place[0] + mask.shape[0], place[1] : place[1] + mask.shape[1]]
            _paste(picture[window], pixels, alpha, donor.bright)
            packed[window][mask] = number
            new_areas.append(np.array([np.count_nonzero(mask)], np.float64))
    return picture, packed, np.concatenate(new_areas)


def _donors(
    rng: np.random.Generator,
    grey: NDArray[np.uint8],
    label: NDArray[np.uint16],
    areas: NDArray[np.float64],
) -> list[Donor]:
    """Whole cells of the crop, drawn at random."""
    height, width = label.shape
    boxes, ids = label_boxes(label)
    found: list[Donor] = []
    for n in rng.permutation(len(ids)):
        x0, y0, x1, y1 = (int(v) for v in boxes[n])
        fits = min(x1 - x0, y1 - y0) >= _MIN_SIDE
        fits = fits and max(x1 - x0, y1 - y0) <= _MAX_SIDE * min(height, width)
        if not fits or x0 < 1 or y0 < 1 or x1 >= width or y1 >= height:
            continue
        part = np.s_[max(y0 - 4, 0) : y1 + 4, max(x0 - 4, 0) : x1 + 4]
        cell = label[part] == ids[n]
        area = np.count_nonzero(cell)
        if area < 0.85 * areas[ids[n]]:
            continue
        y, x = np.nonzero(cell)
        spread = np.cov(np.stack((x, y))) if area > 2 else np.eye(2)
        angle = 0.5 * math.atan2(2 * spread[0, 1], spread[0, 0] - spread[1, 1])
        around = grey[part][label[part] == 0]
        bright = bool(around.size and grey[part][cell].mean() > around.mean() + 8)
        found.append(Donor(grey[part].copy(), cell * np.uint8(255), angle, bright))
        if len(found) == _DONORS:
            break
    return found


def _turned(donor: Donor, angle: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A cell turned by radians: (s, s) pixels and soft mask, 255 in the cell."""
    height, width = donor.mask.shape
    side = math.ceil(math.hypot(height, width)) + 4
    cos, sin = math.cos(angle), math.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]])
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    affine = np.column_stack((linear, (side - 1) / 2 - linear @ middle))
    pixels = cv2.warpAffine(donor.pixels, affine, (side, side), borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(donor.mask, affine, (side, side))
    y, x = np.nonzero(mask)
    part = np.s_[max(y.min() - 3, 0) : y.max() + 4, max(x.min() - 3, 0) : x.max() + 4]
    return np.asarray(pixels[part], np.uint8), np.asarray(mask[part], np.uint8)


def _place(
    rng: np.random.Generator,
    packed: NDArray[np.uint16],
    mask: NDArray[np.bool_],
    centre: NDArray[np.float64],
) -> tuple[int, int] | None:
    """The nearest place (y, x) to a centre, in a random direction, where a copy just fits."""
    height, width = mask.shape
    angle = rng.uniform(0, 2 * math.pi)
    step = max(1.0, 0.15 * math.sqrt(np.count_nonzero(mask)))
    max_overlap = _OVERLAP * np.count_nonzero(mask)
    for number in range(60):
        y = round(centre[0] + number * step * math.sin(angle) - height / 2)
        x = round(centre[1] + number * step * math.cos(angle) - width / 2)
        if y < 0 or x < 0 or y + height > packed.shape[0] or x + width > packed.shape[1]:
            return None
        if np.count_nonzero(packed[y : y + height, x : x + width][mask]) <= max_overlap:
            return y, x
    return None


def _paste(
    picture: NDArray[np.uint8], pixels: NDArray[np.uint8], alpha: NDArray[np.uint8], bright: bool
) -> None:
    """Blend a cell into a part of the picture, with a soft edge that covers its rim."""
    soft = cv2.dilate(alpha, np.ones((3, 3), np.uint8))
    share = cv2.GaussianBlur(soft, (0, 0), 1.0).astype(np.float32) / 255
    blended = picture + share * (pixels.astype(np.float32) - picture)
    if bright:  # light adds up: the rim of one cell takes none from its neighbour
        blended = np.where(alpha > 127, blended, np.maximum(blended, picture))
    picture[:] = np.rint(blended).astype(np.uint8)
