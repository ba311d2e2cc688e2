"""Labelled images, read and kept in memory.

    python -m training.data DATA val FOLDER

links the images of one split of a data set (training/layout.py) into a folder, so that the
predictor can be run on just these.
"""

import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.files.open import read_image
from app.processor import available_threads
from app.settings import Method
from training.augment.geometry import label_boxes
from training.augment.limits import Recording, record
from training.command import command_parser, user_errors
from training.config import StageConfig
from training.errors import InputError
from training.layout import LABELS, PSEUDO_SOURCE, image_path, label_path, read_split
from training.look import show_as_kept, show_usual
from training.metric import read_labels


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
        root: a data set in the challenge's layout.
        split: ``train``, ``val`` or ``probe``.
        method: how prediction normalises.

    Raises:
        OSError: a file is missing.
        ImageError: an image can't be used.
        InputError: the metadata or a label can't, or the split is empty.
    """
    return load_rows(root, read_split(root, split), method)


def load_rows(root: Path, rows: Iterable[dict[str, str]], method: Method) -> list[Labelled]:
    """Read images, in order; arguments and errors as of ``load_labelled``, with their metadata."""
    with ThreadPoolExecutor(available_threads()) as pool:
        return list(pool.map(lambda row: load_image(root, row, method), rows))


def load_image(root: Path, row: dict[str, str], method: Method) -> Labelled:
    """Read one image; arguments and errors as of ``load_labelled``, with its row of metadata."""
    path = image_path(root, row)
    raw = read_image(path)
    label = load_label(label_path(root / LABELS, row["name"]))
    if raw.shape[:2] != label.shape:
        raise InputError(f"{path}: image is {raw.shape[:2]}, but its label is {label.shape}")
    normalised = show_as_kept(raw) if row["source"] == PSEUDO_SOURCE else show_usual(raw, method)
    image = normalised[:, :]
    recording = record(raw, image, normalised.limits, label)
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


def load_label(path: Path) -> NDArray[np.uint16]:
    """Read a label image, (H, W) uint16; where an id is larger than that, all are numbered anew.

    Raises:
        InputError: it can't be read, or holds more cells than 16 bits can number.
    """
    label = read_labels(path)
    largest = np.iinfo(np.uint16).max
    if label.max() > largest:
        ids, index = np.unique(np.append(label.ravel(), 0), return_inverse=True)
        if len(ids) - 1 > largest:
            raise InputError(
                f"{path}: {len(ids) - 1:,} cells, and training takes {largest:,} at most; "
                "cut the image and its label into smaller ones"
            )
        return index[:-1].reshape(label.shape).astype(np.uint16)
    return label.astype(np.uint16)


class Pool:
    """Images with a probability each, by the stage's balance and factors.

    Raises:
        InputError: none of them has a cell, or the factors leave all of those out.
    """

    def __init__(self, images: list[Labelled], stage: StageConfig) -> None:
        self.images = [i for i in images if len(i.ids) and stage.factor(i.name) > 0]
        if not self.images:
            raise InputError(
                f"of {len(images)} images to train on none has both a cell in its label and a "
                "factor above 0; give labels with cells, or mend the stage's factors"
            )
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
    parser = command_parser(__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("split")
    parser.add_argument("folder", type=Path, help="made if missing")
    options = parser.parse_args(arguments)
    with user_errors(parser):
        rows = read_split(options.data, options.split)
        options.folder.mkdir(parents=True, exist_ok=True)
        for row in rows:
            image = image_path(options.data, row).resolve(strict=True)
            link = options.folder / row["image"]
            if link.is_symlink() and link.resolve() == image:
                continue
            if link.exists() or link.is_symlink():
                raise InputError(f"{link}: is there and is not {image}; give another folder")
            link.symlink_to(image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
