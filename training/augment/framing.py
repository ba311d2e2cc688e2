"""Where a training crop looks, how much it enlarges, and what it shows past an image's edge."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from training.augment.geometry import Affine, Size
from training.augment.limits import Levels, Recording

# Crop pixels per stored pixel. Enlarging further shows nothing new; shrinking further, nothing.
_MIN_SCALE, _MAX_SCALE = 0.15, 4.0
_MAX_SHARE = 0.7  # of a crop's side that a typical cell may take
# A cell that an edge cuts is one with its mirror image if the cut is at least this share as long
# as the cell's box; else the two only touch.
_CUT = 0.6
_MIN_TILE = 0.35  # of a crop's side, below which a reflected image is but a pattern


def draw_scale(rng: np.random.Generator, usual: float, spread: tuple[float, float]) -> float:
    """The usual scale, times a factor that is log-uniform in ``spread``."""
    low, high = spread
    return usual * math.exp(rng.uniform(math.log(low), math.log(high)))


def draw_cell_scale(
    rng: np.random.Generator,
    boxes: NDArray[np.float32],
    sides: tuple[float, float],
    size: Size,
) -> float:
    """A scale at which the median cell of an image is drawn as large as a log-uniform draw says.

    Args:
        boxes: (N, 4) xyxy of the image's cells, at least one.
        sides: lowest and highest side of a cell, the root of its box's area, in crop pixels.
        size: (H, W) of the crop.
    """
    median = float(np.median(np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))))
    low, high = sides
    side = math.exp(rng.uniform(math.log(low), math.log(high)))
    side = min(side, max(low, _MAX_SHARE * min(size)))
    return float(np.clip(side / median, _MIN_SCALE, _MAX_SCALE))


def crop_centre(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    boxes: NDArray[np.float32],
    view: tuple[float, float],
) -> tuple[float, float]:
    """Where (xy) a view of (H, W) image pixels looks: a cell or anywhere, seldom past the edge.

    Args:
        shape: (H, W) of the image.
        boxes: (N, 4) xyxy of its cells, at least one.
    """
    if rng.random() < 0.5:
        box = boxes[rng.integers(len(boxes))]
        x, y = (box[:2] + box[2:]) / 2 + rng.uniform(-0.4, 0.4, 2) * (view[1], view[0])
    else:
        x, y = rng.uniform(0, 1, 2) * shape[1::-1]

    def inside(value: float, side: int, length: float) -> float:
        margin = min(length, side) / 2
        return float(np.clip(value, margin, side - margin))

    return inside(x, shape[1], view[1]), inside(y, shape[0], view[0])


def warp_recording(recording: Recording, affine: Affine, size: Size, reflect: bool) -> Levels:
    """A crop of a recording: bilinear, from a copy that is shrunk by no more than half again.

    Args:
        affine: (2, 3), image xy to crop xy.
        size: (H, W) of the crop.
        reflect: mirror the image past its edge; else its last pixels go on.

    Returns:
        (size) or (size, C), of the recording's dtype.
    """
    scale = math.sqrt(abs(float(np.linalg.det(affine[:, :2]))))
    number = min(max(0, math.floor(-math.log2(scale))), len(recording.levels) - 1)
    factor = 2.0**number
    moved = affine * [factor, factor, 1.0]
    moved[:, 2] += affine[:, :2].sum(1) * (factor - 1) / 2
    border = cv2.BORDER_REFLECT if reflect else cv2.BORDER_REPLICATE
    source = recording.levels[number]
    crop = cv2.warpAffine(
        source, moved, (size[1], size[0]), flags=cv2.INTER_LINEAR, borderMode=border
    )
    return crop  # type: ignore[return-value]


def outside(shape: tuple[int, ...], affine: Affine, size: Size) -> NDArray[np.bool_] | None:
    """Which pixels (H, W) of a crop lie past the edge of an image; None if none does."""
    corners = np.array([[0, 0], [shape[1], 0], [shape[1], shape[0]], [0, shape[0]]]) - 0.5
    back = cv2.invertAffineTransform(affine)
    view = np.array([[0, 0], [size[1], 0], [size[1], size[0]], [0, size[0]]]) - 0.5
    seen = view @ back[:, :2].T + back[:, 2]
    if (seen >= corners[0] - 0.5).all() and (seen <= corners[2] + 0.5).all():
        return None
    polygon = corners @ affine[:, :2].T + affine[:, 2]
    inside = np.zeros(size, np.uint8)
    cv2.fillConvexPoly(inside, np.rint(polygon * 16).astype(np.int32), (1,), shift=4)
    return np.asarray(inside == 0, np.bool_)


def can_reflect(shape: tuple[int, ...], affine: Affine, size: Size) -> bool:
    """Whether an image is large enough in a crop to be mirrored at its edges."""
    scale = math.sqrt(abs(float(np.linalg.det(affine[:, :2]))))
    return scale * min(shape[:2]) >= _MIN_TILE * max(size)


def reflect_label(
    label: NDArray[np.uint16],
    boxes: NDArray[np.float32],
    ids: NDArray[np.int64],
    affine: Affine,
    size: Size,
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """A crop of a label image that is mirrored past its edges; each mirrored cell is another one.

    Args:
        label: (H, W) label image.
        boxes: (N, 4) xyxy of its cells.
        ids: (N,) of its cells.
        affine: (2, 3), image xy to crop xy.
        size: (H, W) of the crop.

    Returns:
        The crop's label image (size), ids from 1; (ids + 1,) the id in ``label`` of each, 0 of 0.
    """
    moved = cv2.warpAffine(
        label,
        affine,
        (size[1], size[0]),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REFLECT,
    )
    rows, columns = np.nonzero(moved)
    key = moved[rows, columns].astype(np.int64)
    cell = key.copy()
    count = int(ids.max(initial=0)) + 1
    span = count
    back = cv2.invertAffineTransform(affine)
    # Along x first: its edges are columns, along which a cell is as long as its box is high.
    for axis, ends in enumerate(((label[:, 0], label[:, -1]), (label[0], label[-1]))):
        place = back[axis, 0] * columns + back[axis, 1] * rows + back[axis, 2] + 0.5
        tile = np.floor(place / label.shape[1 - axis]).astype(np.int64)
        along = np.full(count, np.inf)
        along[ids] = np.maximum(_CUT * (boxes[:, 3 - axis] - boxes[:, 1 - axis]), 1)
        first, last = (np.bincount(end, minlength=count)[cell] >= along[cell] for end in ends)
        # Tiles meet in pairs at each edge: a cell that is cut there is the same in both.
        pair = np.where(first, (tile + 1) // 2, np.where(last, tile // 2, tile))
        pair = np.where(first & last, 0, pair)
        pair -= pair.min(initial=0)
        key += span * pair
        span *= int(pair.max(initial=0)) + 1
    present = np.zeros(span, np.bool_)
    present[key] = True
    new = np.zeros(size, np.uint16)
    new[rows, columns] = np.cumsum(present)[key]
    return new, np.append(0, np.flatnonzero(present) % count)
