"""Labelled images, read and kept in memory.

A data set is a folder in the challenge's layout with a ``metadata.csv`` that has, for each
labelled image, the columns name, image, source, modality and split.

    python -m training.data DATA val FOLDER

links the images of one split into a folder, so that the predictor can be run on just these.
"""

import argparse
import csv
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from app.files.open import read_image
from app.normalise import Normalised, percentile_limits
from app.settings import Method
from training.augment.geometry import label_boxes
from training.augment.limits import Recording, record
from training.config import StageConfig


@dataclass(frozen=True)
class Labelled:
    """One labelled image.

    image: (H, W, 3) uint8, normalised as in prediction; not writable.
    label: (H, W) uint16 label image.
    boxes: (N, 4) float32 xyxy, pixels of the image; ids: (N,) the labels' ids.
    areas: (highest id + 1,) float64, pixels of each id.
    recording: the image at its own depth, to be shown between other limits.
    ignored: (M, 4) float32 xyxy of what may be cells that have no label.
    """

    name: str
    source: str
    modality: str
    image: NDArray[np.uint8]
    label: NDArray[np.uint16]
    boxes: NDArray[np.float32]
    ids: NDArray[np.int64]
    areas: NDArray[np.float64]
    recording: Recording
    ignored: NDArray[np.float32]


def load_labelled(root: Path, split: str, method: Method) -> list[Labelled]:
    """Read all images of a split into memory, normalised.

    Args:
        root: a folder with ``Train_Labeled/`` and ``metadata.csv``.
        split: ``train``, ``val`` or ``probe``.
        method: how prediction normalises.

    Raises:
        ValueError: image and label differ in size, or the split is empty.
    """
    return [load_image(root, row, method) for row in read_split(root, split)]


def read_split(root: Path, split: str, *others: str) -> list[dict[str, str]]:
    """The rows of ``metadata.csv`` of one split, then those of others where there are any.

    Raises:
        ValueError: there is none of the first.
    """
    path = root / "metadata.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not any(row["split"] == split for row in rows):
        raise ValueError(f"{path}: no image of split {split}")
    return [row for wanted in (split, *others) for row in rows if row["split"] == wanted]


def load_image(root: Path, row: dict[str, str], method: Method) -> Labelled:
    """Read one image; arguments and errors as of ``load_labelled``, with its row of metadata."""
    folder = root / "Train_Labeled"
    path = folder / "images" / row["image"]
    raw = read_image(path)
    label = tifffile.imread(folder / "labels" / f"{row['name']}_label.tiff").astype(np.uint16)
    if raw.shape[:2] != label.shape:
        raise ValueError(f"{path}: image is {raw.shape[:2]}, but its label is {label.shape}")
    if raw.dtype == np.bool_:
        raw = raw.astype(np.uint8)
    whole = raw if raw.ndim == 3 else raw[:, :, None]
    limits = percentile_limits(whole, method.low_percentile, method.high_percentile)
    image = Normalised(whole, limits)[:, :]
    recording = record(raw, image, limits, label)
    if recording.grey:  # three equal channels are kept once
        image = np.broadcast_to(image[:, :, :1].copy(), image.shape)
    boxes, ids = label_boxes(label)
    return Labelled(
        row["name"],
        row["source"],
        row["modality"],
        image,
        label,
        boxes,
        ids,
        np.bincount(label.ravel()).astype(np.float64),
        recording,
        np.zeros((0, 4), np.float32),
    )


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
