"""The challenge's metric in plain loops over pixels: slow, and simple enough to be trusted."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Pixels = set[tuple[int, int]]


def canvas(
    *boxes: tuple[int, int, int, int], shape: tuple[int, int] = (60, 80)
) -> NDArray[np.integer]:
    """Boxes (top, left, height, width) drawn with ids 1, 2, ... in that order."""
    labels = np.zeros(shape, np.uint16)
    for i, (top, left, height, width) in enumerate(boxes, start=1):
        labels[top : top + height, left : left + width] = i
    return labels


def slow_counts(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    threshold: float,
    whole_below: int,
    block: int,
) -> tuple[int, int, int]:
    """True instances, predicted ones and true positives of two (H, W) label images."""
    height, width = true.shape
    if height * width < whole_below:
        return _counts(_instances(true), _instances(predicted), threshold)
    totals = (0, 0, 0)
    for top in range(0, height, block):
        for left in range(0, width, block):
            cut = [_padded(labels, top, left, block) for labels in (true, predicted)]
            found = _counts(_instances(cut[0]), _instances(cut[1]), threshold)
            totals = (totals[0] + found[0], totals[1] + found[1], totals[2] + found[2])
    return totals


def _padded(labels: NDArray[np.integer], top: int, left: int, block: int) -> NDArray[np.integer]:
    height, width = labels.shape
    out = np.zeros((block, block), labels.dtype)
    for y in range(top, min(top + block, height)):
        for x in range(left, min(left + block, width)):
            out[y - top, x - left] = labels[y, x]
    return out


def _instances(labels: NDArray[np.integer]) -> list[Pixels]:
    """The pixels of every instance that keeps away from the outer two pixels."""
    height, width = labels.shape
    found: dict[int, Pixels] = {}
    for y in range(height):
        for x in range(width):
            if labels[y, x]:
                found.setdefault(int(labels[y, x]), set()).add((y, x))
    return [
        pixels
        for pixels in found.values()
        if all(2 <= y < height - 2 and 2 <= x < width - 2 for y, x in pixels)
    ]


def _counts(true: list[Pixels], predicted: list[Pixels], threshold: float) -> tuple[int, int, int]:
    """The full Hungarian matching: most pairs at the threshold first, then the best IoU."""
    iou = np.zeros((len(true), len(predicted)))
    for i, a in enumerate(true):
        for j, b in enumerate(predicted):
            iou[i, j] = len(a & b) / len(a | b)
    worth = (iou >= threshold) + iou / (2 * max(1, min(iou.shape)))
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return len(true), len(predicted), int((iou[rows, columns] >= threshold).sum())
