"""The images that went worst, side by side: the image, the true outlines, the predicted ones.

    python -m training.report.gallery DATA PREDICTIONS GALLERY.jpg [--source dsb2018] [--images 10]

Of split ``val`` of DATA, by F1 at IoU 0.5, worst first, numbered from the top left; a line for each
is printed. --source takes the images of one source alone, such as one that may be published.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.command import command_parser, from_1, user_errors
from training.errors import InputError
from training.layout import LABELS, image_path, label_path, read_split
from training.metric import read_labels, score_image
from training.report.overlay import overlay, read_picture, write_picture

_SIDE = 256  # of each picture, pixels
_COLUMNS = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = command_parser(__doc__)
    for name in ("data", "predictions", "gallery"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--source")
    parser.add_argument("--images", type=from_1, default=10)
    options = parser.parse_args(arguments)
    with user_errors(parser):
        rows = read_split(options.data, "val")
        rows = [row for row in rows if options.source in (None, row["source"])]
        if not rows:
            raise InputError(f"{options.data}: no image of source {options.source} in split val")
        picture = gallery(options.data, options.predictions, rows, options.images)
        write_picture(options.gallery, picture)
    return 0


def gallery(
    data: Path, predictions: Path, rows: list[dict[str, str]], count: int
) -> NDArray[np.uint8]:
    """The worst of some images, worst first, each as ``triptych`` shows it; printed as well.

    Args:
        data: a data set in the challenge's layout.
        predictions: a folder of label images.
        rows: of its metadata.
        count: images that are shown, at most.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    scored = []
    for row in rows:
        truth = read_labels(label_path(data / LABELS, row["name"]))
        predicted = read_labels(label_path(predictions, row["name"]), truth.shape)
        scored.append((score_image(truth, predicted)[0], row, truth, predicted))
    scored.sort(key=lambda entry: entry[0].f1)
    pictures = []
    for number, (score, row, truth, predicted) in enumerate(scored[:count], 1):
        print(
            f"{number}. {row['name']} ({row['modality']}): F1 {score.f1:.2f}, "
            f"{score.true} true, {score.predicted} predicted, {score.tp} right"
        )
        pictures.append(triptych(read_picture(image_path(data, row)), truth, predicted))
    pictures += [np.full_like(pictures[0], 255)] * (-len(pictures) % _COLUMNS)
    lines = [np.hstack(pictures[n : n + _COLUMNS]) for n in range(0, len(pictures), _COLUMNS)]
    return np.vstack(lines)


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
