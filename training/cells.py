"""The segmenter's samples: single cells, cut out of labelled images as prediction cuts them."""

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from app.detect import detect
from app.segment import crop, resize, round_boxes
from app.session import Run
from app.settings import Method
from training.augment.framing import warp_recording
from training.augment.geometry import jitter_box, warp_label
from training.augment.limits import draw_limits, show
from training.augment.scene import colour
from training.config import SegmenterConfig
from training.data import Labelled
from training.epochs import count_steps
from training.losses import paired_iou
from training.samples import Samples

_CONTEXT = 0.25  # of a box's sides, seen around it while a crop is changed, and then cut off
_MAX_SIDE = 128  # pixels of a crop while it is changed


class SegmenterSamples(Samples):
    """Sample i is a crop (3, S, S) uint8 of one cell and its mask (S, S) float32 in [0, 1]."""

    def __init__(
        self,
        images: list[Labelled],
        unlabelled: list[Labelled],
        config: SegmenterConfig,
        method: Method,
    ) -> None:
        super().__init__(images, unlabelled, config)
        self.config = config
        self.method = method
        cells = sum(len(image.ids) for image in self.labelled.images)
        self.epoch_steps = math.ceil(cells / config.batch)
        self.steps = count_steps(config, cells)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = self.start(index)
        sample = self.draw(rng)
        n = int(rng.integers(len(sample.ids)))
        box = sample.boxes[n]
        if rng.random() < self.config.jitter:
            box = jitter_box(rng, box)
        image, mask = varied_crop(rng, sample, n, box, self.config, self.method)
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        image, mask = np.rot90(image, turns), np.rot90(mask, turns)
        if flip:
            image, mask = image[:, ::-1], mask[:, ::-1]
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return pixels, torch.from_numpy(np.ascontiguousarray(mask))


def with_predicted_boxes(sample: Labelled, detector: Run, method: Method) -> Labelled:
    """An image in which each cell that the detector finds has the detector's box.

    The segmenter then trains on what it will see; a cell is found by the box that overlaps its
    own most, if at least by half (IoU).

    Args:
        detector: as ``app.detect.detect`` wants it.
    """
    found, _ = detect(sample.image, detector, method)
    if not len(found):
        return sample
    iou = paired_iou(torch.from_numpy(sample.boxes)[:, None], torch.from_numpy(found)[None])
    best, which = (part.numpy() for part in iou.max(1))
    boxes = np.where((best >= 0.5)[:, None], found[which], sample.boxes)
    return replace(sample, boxes=boxes)


def varied_crop(
    rng: np.random.Generator,
    sample: Labelled,
    n: int,
    box_xyxy: NDArray[np.float32],
    config: SegmenterConfig,
    method: Method,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """As ``cell_crop``, of the image as another microscope might have shown it."""
    box, crop_size = _whole_box(sample, box_xyxy, method), method.crop_size
    full = box[2:] - box[:2]
    small = np.minimum(full, _MAX_SIDE)
    factor, around = small / full, np.ceil(_CONTEXT * small).astype(np.int64)
    affine = np.column_stack((np.diag(factor), around - 0.5 + (0.5 - box[:2]) * factor))
    width, height = (small + 2 * around).tolist()
    values = warp_recording(sample.recording, affine, (height, width), reflect=False)
    label = warp_label(sample.label, affine, (height, width))
    dark = sample.modality == "Fluo"
    image = show(values, draw_limits(rng, sample.recording, config.limits, dark))
    image = colour(rng, image, label, sample, float(np.sqrt(factor.prod())), config)
    (x, y), (right, bottom) = around, around + small
    inside = resize(image[y:bottom, x:right], (crop_size, crop_size))
    return inside, _cell_mask(sample, n, box, crop_size)


def cell_crop(
    sample: Labelled, n: int, box_xyxy: NDArray[np.float32], method: Method
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Cell number n of an image, cut by a box as in prediction.

    Returns:
        (S, S, 3) uint8 crop; (S, S) float32 share of each pixel that is the cell.
    """
    box, size = _whole_box(sample, box_xyxy, method), method.crop_size
    return crop(sample.image, box, size), _cell_mask(sample, n, box, size)


def _whole_box(
    sample: Labelled, box_xyxy: NDArray[np.float32], method: Method
) -> NDArray[np.int64]:
    """A box (4,) of an image in whole pixels, as prediction cuts it."""
    shape = (sample.label.shape[0], sample.label.shape[1])
    (box,) = round_boxes(box_xyxy[None], shape, method.crop_margin)
    return np.asarray(box)


def _cell_mask(sample: Labelled, n: int, box: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    x0, y0, x1, y1 = box
    mask = (sample.label[y0:y1, x0:x1] == sample.ids[n]).astype(np.float32)
    return resize(mask, (size, size))
