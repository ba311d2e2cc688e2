"""Labelled images to training samples.

A data set is a folder in the challenge's layout with a ``metadata.csv`` that has, for each
labelled image, the columns name, image, source, modality and split.

    python -m training.data DATA val FOLDER

links the images of one split into a folder, so that the predictor can be run on just these.
"""

import argparse
import csv
import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from app.detect import detect
from app.normalise import normalise
from app.read import read_image
from app.segment import crop, resize, round_boxes
from app.session import Run
from app.settings import Method
from app.tile import scale_factor, window_starts
from training.augmentation import jitter_box, label_boxes, photometric, random_affine, warp
from training.config import CropConfig, DetectorConfig, SegmenterConfig, StageConfig
from training.losses import paired_iou


@dataclass(frozen=True)
class Labelled:
    """One labelled image.

    image: (H, W, 3) uint8, normalised as in prediction.
    label: (H, W) uint16 label image.
    boxes: (N, 4) float32 xyxy, pixels of the image; ids: (N,) the labels' ids.
    areas: (highest id + 1,) float64, pixels of each id.
    """

    name: str
    source: str
    modality: str
    image: NDArray[np.uint8]
    label: NDArray[np.uint16]
    boxes: NDArray[np.float32]
    ids: NDArray[np.int64]
    areas: NDArray[np.float64]


# A window: its image and its middle xy in pixels of the image.
Window = tuple[Labelled, tuple[float, float]]


def load_labelled(root: Path, split: str, method: Method) -> list[Labelled]:
    """Read all images of a split into memory, normalised.

    Args:
        root: a folder with ``Train_Labeled/`` and ``metadata.csv``.
        split: ``train`` or ``val``.
        method: how prediction normalises.

    Raises:
        ValueError: image and label differ in size, or the split is empty.
    """
    return [load_image(root, row, method) for row in read_split(root, split)]


def read_split(root: Path, split: str) -> list[dict[str, str]]:
    """The rows of ``metadata.csv`` of one split.

    Raises:
        ValueError: there is none.
    """
    path = root / "metadata.csv"
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    if not rows:
        raise ValueError(f"{path}: no image of split {split}")
    return rows


def load_image(root: Path, row: dict[str, str], method: Method) -> Labelled:
    """Read one image; arguments and errors as of ``load_labelled``, with its row of metadata."""
    folder = root / "Train_Labeled"
    path = folder / "images" / row["image"]
    raw = read_image(path)
    label = tifffile.imread(folder / "labels" / f"{row['name']}_label.tiff").astype(np.uint16)
    if raw.shape[:2] != label.shape:
        raise ValueError(f"{path}: image is {raw.shape[:2]}, but its label is {label.shape}")
    image = normalise(raw, method.low_percentile, method.high_percentile)
    boxes, ids = label_boxes(label)
    areas = np.bincount(label.ravel()).astype(np.float64)
    return Labelled(row["name"], row["source"], row["modality"], image, label, boxes, ids, areas)


class Pool:
    """Images with a probability each, by the stage's balance and factors."""

    def __init__(self, images: list[Labelled], stage: StageConfig) -> None:
        self.images = [i for i in images if len(i.ids) and stage.factor(i.name) > 0]
        counts = Counter((i.source, i.modality) for i in self.images)
        raw = [
            stage.factor(i.name) / counts[i.source, i.modality] ** stage.balance
            for i in self.images
        ]
        self.cumulative = np.cumsum(raw) / np.sum(raw)

    def draw(self, rng: np.random.Generator) -> Labelled:
        return self.images[int(np.searchsorted(self.cumulative, rng.random()))]


class _Samples(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Samples of labelled images, and of pseudo-labelled ones for a share of the draws.

    Sample i is a pure function of the seed and i.
    """

    def __init__(
        self, images: list[Labelled], unlabelled: list[Labelled], stage: StageConfig
    ) -> None:
        self.labelled = Pool(images, stage)
        self.unlabelled = Pool(unlabelled, stage) if stage.unlabelled else self.labelled
        self.unlabelled_share = stage.unlabelled
        self.seed = stage.seed
        self.drawn: list[str] = []

    def draw(self, rng: np.random.Generator, labelled: Labelled | None = None) -> Labelled:
        """An image: a pseudo-labelled one for their share of the draws, else a labelled one.

        Args:
            labelled: the labelled one, where it is not to be drawn.
        """
        if rng.random() < self.unlabelled_share:
            image = self.unlabelled.draw(rng)
        else:
            image = labelled or self.labelled.draw(rng)
        self.drawn.append(image.name)
        return image

    def start(self, index: int) -> np.random.Generator:
        """The random numbers of a sample."""
        self.drawn = []
        return np.random.default_rng([self.seed, index])

    def names(self, index: int) -> list[str]:
        """The images that a sample is made of."""
        self[index]
        return self.drawn


class CropSamples(_Samples):
    """Crops of images that hold many cells."""

    def __init__(
        self,
        images: list[Labelled],
        unlabelled: list[Labelled],
        config: CropConfig,
        method: Method,
    ) -> None:
        super().__init__(images, unlabelled, config)
        self.config = config
        self.method = method
        self.windows = [
            (image, centre)
            for image in self.labelled.images
            for centre in window_centres(image.label.shape, config, method)
        ]
        self.epoch_steps = math.ceil(len(self.windows) / config.batch)
        self.steps = count_steps(config, len(self.windows))

    def window(self, index: int) -> Window | None:
        """The window of a sample; None where crops lie anywhere."""
        if not self.config.window_stride:
            return None
        epoch, place = divmod(index, len(self.windows))
        return self.windows[int(epoch_order(self.seed, epoch, len(self.windows))[place])]

    def view(
        self, rng: np.random.Generator, size: tuple[int, int], window: Window | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float64]]:
        """A crop (H, W) of one image; if that is a window's, around the middle of the window.

        Returns:
            (H, W, 3) uint8; its (H, W) label image; the pixels that each id would have uncut.
        """
        sample = self.draw(rng, window[0] if window else None)
        low, high = self.config.scale
        scale = scale_factor(sample.label.shape, self.method)
        scale *= math.exp(rng.uniform(math.log(low), math.log(high)))
        given = window[1] if window and sample is window[0] else None
        centre = given or _crop_centre(rng, sample, (size[0] / scale, size[1] / scale))
        affine = random_affine(rng, centre, scale, self.config.rotation, size)
        image, label = warp(sample.image, sample.label, affine, size, self.method.pad_value)
        if rng.random() < self.config.photometric:
            image = photometric(rng, image)
        return image, label, sample.areas * scale**2


class DetectorSamples(CropSamples):
    """Sample i is a crop (3, S, S) uint8 and its boxes (N, 4) float32 xyxy."""

    config: DetectorConfig

    def __init__(
        self,
        images: list[Labelled],
        unlabelled: list[Labelled],
        config: DetectorConfig,
        method: Method,
    ) -> None:
        super().__init__(images, unlabelled, config, method)
        self.last_start = round(self.steps * (1 - config.last_share))

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        config = self.config
        rng = self.start(index)
        size = (config.crop, config.crop)
        mosaic = index < self.last_start * config.batch and rng.random() < config.mosaic
        window = self.window(index)
        if mosaic:
            image, boxes = self._mosaic(rng, window)
            if rng.random() < config.mixup:
                other, other_boxes = self._crop(rng, size)
                image = np.asarray(cv2.addWeighted(image, 0.5, other, 0.5, 0.0), np.uint8)
                boxes = np.concatenate((boxes, other_boxes))
        else:
            image, boxes = self._crop(rng, size, window)
        return torch.from_numpy(image).permute(2, 0, 1).contiguous(), torch.from_numpy(boxes)

    def _mosaic(
        self, rng: np.random.Generator, window: Window | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Four crops of four images that meet in a random point (YOLOX, section 2.1)."""
        size = self.config.crop
        x, y = (int(v) for v in rng.integers(size // 4, size - size // 4 + 1, 2))
        canvas = np.empty((size, size, 3), np.uint8)
        boxes = []
        for y0, y1 in ((0, y), (y, size)):
            for x0, x1 in ((0, x), (x, size)):
                canvas[y0:y1, x0:x1], part = self._crop(rng, (y1 - y0, x1 - x0), window)
                window = None  # the other three are drawn
                boxes.append(part + np.array([x0, y0, x0, y0], np.float32))
        return canvas, np.concatenate(boxes)

    def _crop(
        self, rng: np.random.Generator, size: tuple[int, int], window: Window | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """As ``view``, with boxes."""
        image, label, areas = self.view(rng, size, window)
        return image, label_boxes(label, areas)[0]


@lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order (N,) in which an epoch goes through ``count`` windows."""
    return np.random.default_rng([seed, epoch, 1]).permutation(count)


def count_steps(stage: StageConfig, count: int) -> int:
    """Steps of a stage whose epoch is over ``count`` windows or cells."""
    return stage.steps or math.ceil(stage.epochs * count / stage.batch)


def window_centres(
    shape: tuple[int, ...], config: CropConfig, method: Method
) -> list[tuple[float, float]]:
    """Middles xy, in image pixels, of the windows that an image of (H, W) is trained in.

    Without a stride of windows there is just one: an epoch then draws as many crops as images.
    """
    if not config.window_stride:
        return [(shape[1] / 2, shape[0] / 2)]
    scale = scale_factor(shape, method)
    rows, columns = (
        [
            (start + min(config.crop, length) / 2) / scale
            for start in window_starts(length, config.crop, config.window_stride, 1)
        ]
        for length in (round(n * scale) for n in shape)
    )
    return [(x, y) for y in rows for x in columns]


def _crop_centre(
    rng: np.random.Generator, sample: Labelled, view: tuple[float, float]
) -> tuple[float, float]:
    """Where (xy) a view of (H, W) image pixels looks: a cell or anywhere, seldom past the edge."""
    if rng.random() < 0.5:
        box = sample.boxes[rng.integers(len(sample.boxes))]
        x, y = (box[:2] + box[2:]) / 2 + rng.uniform(-0.4, 0.4, 2) * (view[1], view[0])
    else:
        x, y = rng.uniform(0, 1, 2) * sample.label.shape[::-1]

    def inside(value: float, side: int, length: float) -> float:
        margin = min(length, side) / 2
        return float(np.clip(value, margin, side - margin))

    height, width = sample.label.shape
    return inside(x, width, view[1]), inside(y, height, view[0])


def collate_boxes(
    items: list[tuple[torch.Tensor, torch.Tensor]],
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Stack the images; the boxes stay a list."""
    return torch.stack([image for image, _ in items]), [boxes for _, boxes in items]


class SegmenterSamples(_Samples):
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
        self.cut = cell_crop
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
        image, mask = self.cut(sample, n, box, self.method)
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        image, mask = np.rot90(image, turns), np.rot90(mask, turns)
        if flip:
            image, mask = image[:, ::-1], mask[:, ::-1]
        if rng.random() < self.config.photometric:
            image = photometric(rng, np.ascontiguousarray(image))
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


def cell_crop(
    sample: Labelled, n: int, box_xyxy: NDArray[np.float32], method: Method
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Cell number n of an image, cut by a box as in prediction.

    Returns:
        (S, S, 3) uint8 crop; (S, S) float32 share of each pixel that is the cell.
    """
    shape, size = (sample.label.shape[0], sample.label.shape[1]), method.crop_size
    (box,) = round_boxes(box_xyxy[None], shape, method.crop_margin)
    x0, y0, x1, y1 = box
    mask = (sample.label[y0:y1, x0:x1] == sample.ids[n]).astype(np.float32)
    return crop(sample.image, box, size), resize(mask, (size, size))


class Batches(Sampler[list[int]]):
    """The samples of each step, in order: a resumed run sees just those that it missed.

    Args:
        start: the first step; ``stop``: the first one that is not done.
        batch: samples of a step.
        share: which of them this process takes, as places in the batch.
    """

    def __init__(self, start: int, stop: int, batch: int, share: range) -> None:
        self.start, self.stop, self.batch, self.share = start, stop, batch, share

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            yield [step * self.batch + place for place in self.share]

    def __len__(self) -> int:
        return self.stop - self.start


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("split")
    parser.add_argument("folder", type=Path, help="made if missing")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    for row in read_split(options.data, options.split):
        image = options.data / "Train_Labeled" / "images" / row["image"]
        (options.folder / row["image"]).symlink_to(image.resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
