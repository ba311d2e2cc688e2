"""Labels for unlabelled images, by a model that was trained already, for the final stage.

    python -m training.prepare.pseudo_label WEIGHTS DATA/Train_Unlabeled/images RUN/pseudo

WEIGHTS are exported ones (training/export.py), of the preliminary model. Every image is shown in
the look that prediction chooses and detected in eight views, turned and mirrored; their boxes are
merged by weighted boxes fusion, and those above the threshold are segmented. Images larger than a
window are cut into windows. RUN/pseudo becomes a folder in the challenge's layout, with the windows
as images, as they were shown, so that labels can be looked at (training/report/overlay.py) and
trained on (``unlabelled`` in a stage's configuration).

Source: VSM paper, section 2.4 (semi-supervised training).
"""

import csv
import sys
from pathlib import Path

import cv2
from tqdm import tqdm

from app.files.arrays import ImageError
from app.files.labels import write_label
from app.files.open import find_images, open_image
from app.predict import Predictor, outline
from app.processor import available_threads
from app.tile import windows
from training.command import command_parser, user_errors
from training.layout import COLUMNS, IMAGES, LABELS, METADATA, label_path
from training.look import show
from training.views import detect_views

SOURCE = "pseudo"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = command_parser(__doc__)
    for name in ("weights", "images", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument(
        "--min-score", type=float, default=0.5, help="of a fused box (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    with user_errors(parser):
        predictor = Predictor(options.weights, "auto", available_threads())
        images = find_images(options.images)
        for part in (IMAGES, LABELS):
            (options.output / part).mkdir(parents=True, exist_ok=True)
    failed = 0
    rows: list[tuple[str, ...]] = [COLUMNS]
    for path in tqdm(images, unit="image", disable=None):
        try:
            names = label_image(path, options.output, predictor, options.min_score)
        except ImageError as error:
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        rows += [(name, f"{name}.png", SOURCE, "unknown", "train") for name in names]
    with (options.output / METADATA).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return int(failed > 0)


def label_image(path: Path, root: Path, predictor: Predictor, min_score: float) -> list[str]:
    """Label an image, window by window; returns the names of those that hold a cell.

    Args:
        path: the image.
        root: a folder in the challenge's layout; receives the windows and their label images.
        predictor: shows, detects and segments.
        min_score: of a fused box.

    Raises:
        ImageError: the image can't be read.
    """
    method = predictor.method
    names: list[str] = []
    with open_image(path) as image:
        shown, look = show(image, predictor)
        if not look.channels:
            return names
        shape = (image.shape[0], image.shape[1])
        for number, (x0, y0, x1, y1) in enumerate(windows(shape, method)):
            window = shown[y0:y1, x0:x1]
            boxes, _ = detect_views(
                window, predictor.detector, method, min_score, look.magnification
            )
            labels = outline(window, boxes, predictor.segmenter, method)
            if labels.count:
                name = f"{path.name.split('.')[0]}-{number}"
                # Training rescales this once more between percentiles, as it does any image.
                cv2.imwrite(str(root / IMAGES / f"{name}.png"), window[:, :, ::-1])
                write_label(label_path(root / LABELS, name), labels)
                names.append(name)
    return names


if __name__ == "__main__":
    sys.exit(main())
