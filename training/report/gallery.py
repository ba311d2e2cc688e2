"""The images that went worst, side by side: the image, the true outlines, the predicted ones.

    python -m training.report.gallery DATA PREDICTIONS GALLERY.jpg [--source dsb2018] [--images 10]

Of split ``val`` of DATA, by F1 at IoU 0.5, worst first, numbered from the top left; a line for each
is printed. --source takes the images of one source alone, such as one that may be published.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.files.open import read_image
from app.normalise import normalise
from training.data import read_split
from training.evaluate import SUFFIX, read_labels, score_image
from training.report.overlay import overlay

_PERCENTILES = (1.0, 99.0)
_SIDE = 256  # of each picture, pixels
_COLUMNS = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("data", "predictions", "gallery"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--source")
    parser.add_argument("--images", type=int, default=10)
    options = parser.parse_args(arguments)
    rows = [
        row for row in read_split(options.data, "val") if options.source in (None, row["source"])
    ]
    labels = options.data / "Train_Labeled" / "labels"
    scored = []
    for row in rows:
        truth, predicted = (
            read_labels(folder / f"{row['name']}{SUFFIX}")
            for folder in (labels, options.predictions)
        )
        scored.append((score_image(truth, predicted)[0], row, truth, predicted))
    scored.sort(key=lambda entry: entry[0].f1)
    pictures = []
    for number, (score, row, truth, predicted) in enumerate(scored[: options.images], 1):
        print(
            f"{number}. {row['name']} ({row['modality']}): F1 {score.f1:.2f}, "
            f"{score.true} true, {score.predicted} predicted, {score.tp} right"
        )
        path = options.data / "Train_Labeled" / "images" / row["image"]
        pictures.append(triptych(normalise(read_image(path), *_PERCENTILES), truth, predicted))
    if not pictures:
        parser.error(f"no image of source {options.source} in split val")
    pictures += [np.full_like(pictures[0], 255)] * (-len(pictures) % _COLUMNS)
    lines = [np.hstack(pictures[n : n + _COLUMNS]) for n in range(0, len(pictures), _COLUMNS)]
    if not cv2.imwrite(str(options.gallery), np.vstack(lines)[:, :, ::-1]):
        parser.error(f"{options.gallery}: can't be written; give a .jpg in a folder that exists")
    return 0


def triptych(
    image: NDArray[np.uint8], truth: NDArray[np.uint32], predicted: NDArray[np.uint32]
) -> NDArray[np.uint8]:
    """An image (H, W, 3), its true and its predicted outlines, as (S, 3 S, 3) uint8."""
    pair, other = overlay(image, truth), overlay(image, predicted)
    width = pair.shape[1] // 2
    parts = pair[:, :width], pair[:, width:], other[:, width:]
    return np.hstack([fit(np.ascontiguousarray(part)) for part in parts])


def fit(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink (H, W, 3) to a square, with white around it."""
    factor = (_SIDE - 4) / max(image.shape[:2])
    size = [max(1, round(side * factor)) for side in image.shape[1::-1]]
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    square = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    square[: small.shape[0], : small.shape[1]] = small
    return square


if __name__ == "__main__":
    sys.exit(main())
