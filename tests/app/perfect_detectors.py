"""Detectors and segmenters that are never wrong, and label images for them to see."""

import dataclasses

import numpy as np
from scipy import ndimage

from tests.app.make_toy_graphs import METHOD

# Windows small enough for many in a small image.
SMALL = dataclasses.replace(METHOD, window=96, stride=64, nms_iou=0.65)
# Windows as large as the paper's.
LARGE = dataclasses.replace(METHOD, window=1536, stride=1280, max_magnification=2.0)


def paint(label: np.ndarray) -> np.ndarray:
    """A label image as an RGB image that ``see`` can read; cells are known by their blue."""
    high, low = np.divmod(label, 256)
    return np.stack((low, high, np.where(label, 255, 0)), 2).astype(np.uint8)


def see(batch: np.ndarray) -> list[np.ndarray]:
    """A perfect detector: the tight box of whatever it sees of each cell, from pixels alone."""
    image = batch[0].astype(int)
    label = np.where(image[:, :, 2] == 255, image[:, :, 0] + 256 * image[:, :, 1], 0)
    found = [(i, s) for i, s in enumerate(ndimage.find_objects(label), 1) if s]
    boxes = [(x.start, y.start, x.stop, y.stop) for _, (y, x) in found]
    scores = [0.6 + 0.3 / (1 + i) for i, _ in found]
    return [
        np.array(boxes, np.float32).reshape(1, -1, 4),
        np.array(scores, np.float32).reshape(1, -1),
    ]


def see_each(batch: np.ndarray) -> list[np.ndarray]:
    """``see`` in each image of a batch, with boxes of no score to make their numbers equal."""
    seen = [see(image[None]) for image in batch]
    most = max(scores.shape[1] for _, scores in seen)
    boxes = [np.pad(b[0], ((0, most - b.shape[1]), (0, 0))) for b, _ in seen]
    return [np.stack(boxes), np.stack([np.pad(s[0], (0, most - s.shape[1])) for _, s in seen])]


def rough(seed: int, copies: int):
    """As a real detector: each box several times, each up to a pixel off, and off differently."""
    rng = np.random.default_rng(seed)

    def see_roughly(batch: np.ndarray) -> list[np.ndarray]:
        boxes, scores = see(batch)
        noise = rng.uniform(-1, 1, (copies, *boxes.shape[1:])).astype(np.float32)
        return [
            (boxes + noise).reshape(1, -1, 4),
            np.concatenate([scores - 0.01 * k for k in range(copies)], 1),
        ]

    return see_roughly


def scatter(rng, shape, sides, count, gap=3):
    """A label image of rectangles that do not touch, with sides from a range."""
    label = np.zeros(shape, int)
    for _ in range(count):
        high, wide = (min(int(s), n) for s, n in zip(rng.integers(*sides, 2), shape, strict=True))
        y, x = (int(rng.integers(0, n - s + 1)) for n, s in zip(shape, (high, wide), strict=True))
        rim = np.s_[max(0, y - gap) : y + high + gap, max(0, x - gap) : x + wide + gap]
        if not label[rim].any():
            label[y : y + high, x : x + wide] = label.max() + 1
    return label


def pave(rng, shape, sides):
    """A label image of rectangles that fill it and touch, with sides from a range."""
    rows, columns = (
        np.searchsorted(np.cumsum(rng.integers(*sides, side)), np.arange(side), side="right")
        for side in shape
    )
    return rows[:, None] * (columns.max() + 1) + columns[None] + 1


def true_boxes(label: np.ndarray) -> np.ndarray:
    return np.array(
        [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(label)], np.float32
    ).reshape(-1, 4)


def by_place(boxes: np.ndarray) -> np.ndarray:
    return boxes[np.lexsort(boxes.T)]


def bright_squares(batch: np.ndarray) -> list[np.ndarray]:
    """A detector of bright rectangles on black: their boxes to a tenth of a pixel, by the light
    that pixels at their edges have lost."""
    seen = []
    for image in batch:
        light = image[:, :, 0] / 255
        label, _ = ndimage.label(light > 0.25)
        boxes = []
        for number, (rows, columns) in enumerate(ndimage.find_objects(label), 1):
            part = np.where(label == number, light, 0)[rows, columns]
            (y, high), (x, wide) = (
                (start + (1 - line[0] if len(line) > 1 else 0), line.sum())
                for start, line in ((rows.start, part.max(1)), (columns.start, part.max(0)))
            )
            boxes.append((x, y, x + wide, y + high))
        seen.append(np.array(boxes, np.float32).reshape(-1, 4))
    most = max(map(len, seen))
    return [
        np.stack([np.pad(boxes, ((0, most - len(boxes)), (0, 0))) for boxes in seen]),
        np.stack([np.arange(most) < len(boxes) for boxes in seen]).astype(np.float32) * 0.9,
    ]


def squares(label: np.ndarray) -> np.ndarray:
    """A label image as ``bright_squares`` can read it."""
    return np.repeat(np.where(label, 255, 0)[:, :, None], 3, 2).astype(np.uint8)


def bright(crops: np.ndarray) -> list[np.ndarray]:
    """A segmenter: what is bright is the cell."""
    return [(crops.mean(3) / 255).astype(np.float32)]
