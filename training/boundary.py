"""Boundary IoU: how well the outlines of found cells agree with the true ones.

Mask IoU is ruled by the inside of a cell, and forgives a large cell an outline that is pixels off.
Boundary IoU compares only the rims: the pixels of a mask within ``d`` pixels of its own contour.

Source: Cheng, Girshick, Dollar, Berg and Kirillov, "Boundary IoU", CVPR 2021. As in the code that
the authors published, distance is that of the chessboard (a rim is what erosion by a square of
2 d + 1 pixels takes away), what lies outside the image is no part of a mask, the contours of holes
count, and both masks of a pair have the same ``d``.

Not as published:
- ``d`` there is 2 % of the diagonal of the image, made for things that fill a photograph. A cell
  has the same outline however wide the field is; here ``d`` is a tenth of the equivalent diameter
  of the true instance, rounded, at least 1 pixel. So figures can't be compared with published ones.
  Where no pixel of either mask is further than ``d`` from the contour, as in cells less than 3
  pixels wide, boundary IoU is mask IoU.
- There it takes the place of mask IoU in average precision. Here it is the mean over the pairs that
  training/metric.py matches at mask IoU 0.5, beside the mask IoU of the same pairs: it tells how
  good the outlines of found cells are, and nothing about cells missed.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from training.metric import BLOCK, WHOLE_BELOW, blocks, match_instances

MATCHED_FROM = 0.5  # mask IoU that a pair must reach
RIM = 0.1  # width of the rim, in equivalent diameters of the true instance


def pair_ious(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    whole_below: int = WHOLE_BELOW,
    block: int = BLOCK,
) -> NDArray[np.float64]:
    """Boundary IoU and mask IoU of every matched pair of one image.

    Args:
        true: (H, W) integers, 0 = background, 1 to 2**32 - 1 = instances, as ``score_image`` takes
            them.
        predicted: the same, of the same shape.
        whole_below: number of pixels from which the image is matched in blocks.
        block: side of such a block, pixels.

    Returns:
        (N, 2) in [0, 1]: boundary IoU and mask IoU of N pairs, which touch none of the outer two
        pixels of the image or block.

    Raises:
        ValueError: the shapes differ.
    """
    parts = [_block_ious(*part) for part in blocks(true, predicted, whole_below, block)]
    return np.concatenate(parts)


def boundary_iou(true: NDArray[np.bool_], predicted: NDArray[np.bool_], d: int) -> float:
    """IoU of the rims of two masks, (H, W) bool, neither empty; ``d`` in pixels, at least 1."""
    return _iou(_rim(true, d), _rim(predicted, d))


def rim_width(area: int) -> int:
    """``d`` in pixels for a true instance of so many pixels."""
    return max(1, round(RIM * math.sqrt(4 / math.pi * area)))


def _block_ious(true: NDArray[np.integer], predicted: NDArray[np.integer]) -> NDArray[np.float64]:
    pairs = match_instances(true, predicted, MATCHED_FROM)
    true, predicted = _numbered(true, pairs[:, 0]), _numbered(predicted, pairs[:, 1])
    ious = np.empty((len(pairs), 2))
    boxes = zip(find_objects(true), find_objects(predicted), strict=True)
    for i, (true_box, predicted_box) in enumerate(boxes):
        box = tuple(
            slice(min(a.start, b.start), max(a.stop, b.stop))
            for a, b in zip(true_box, predicted_box, strict=True)
        )
        masks = true[box] == i + 1, predicted[box] == i + 1
        ious[i] = boundary_iou(*masks, rim_width(int(np.count_nonzero(masks[0])))), _iou(*masks)
    return ious


def _numbered(labels: NDArray[np.integer], ids: NDArray[np.integer]) -> NDArray[np.int32]:
    """(H, W): i + 1 where an instance has ``ids[i]``, 0 where it has none of them."""
    order = np.argsort(ids)
    wanted = np.isin(labels, ids)
    numbers = np.zeros(labels.shape, np.int32)
    numbers[wanted] = order[np.searchsorted(ids, labels[wanted], sorter=order)] + 1
    return numbers


def _rim(mask: NDArray[np.bool_], d: int) -> NDArray[np.bool_]:
    square = np.ones((2 * d + 1, 2 * d + 1), np.uint8)
    inside = cv2.erode(mask.view(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    rim: NDArray[np.bool_] = mask & (inside == 0)
    return rim


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)
