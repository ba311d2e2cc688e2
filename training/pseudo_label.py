"""Labels for unlabelled images, by a model that was trained already, for the final stage.

    python -m training.pseudo_label WEIGHTS DATA/Train_Unlabeled/images RUN/pseudo

WEIGHTS are exported ones (training/export.py), of the preliminary model. Every image is detected
in eight views, turned and mirrored; their boxes are merged by weighted boxes fusion, and those
above the threshold are segmented. Images larger than a window are cut into windows. RUN/pseudo
becomes a folder in the challenge's layout, with the windows as images, so that labels can be
looked at (training/overlay.py) and trained on (``unlabelled`` in a stage's configuration).

Source: VSM paper, section 2.4 (semi-supervised training).
"""

import argparse
import csv
import dataclasses
import sys
from pathlib import Path

import cv2
import numpy as np
from ensemble_boxes import weighted_boxes_fusion
from numpy.typing import NDArray
from tqdm import tqdm

from app.detect import detect
from app.machine import available_threads
from app.normalise import Normalised
from app.pixels import ImageError
from app.predict import Predictor, outline
from app.read import find_images, open_image
from app.session import Run
from app.settings import Method
from app.tile import windows
from app.views import LEAST_IN_VIEW, VIEWS, Boxes, turn, turn_back
from app.write import write_label

SOURCE = "pseudo"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("weights", "images", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument(
        "--least-score", type=float, default=0.5, help="of a fused box (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    predictor = Predictor(options.weights, "auto", available_threads())
    folder = options.output / "Train_Labeled"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    failed = 0
    rows: list[tuple[str, ...]] = [("name", "image", "source", "modality", "split")]
    for path in tqdm(find_images(options.images), unit="image", disable=None):
        try:
            names = label_image(path, folder, predictor, options.least_score)
        except ImageError as error:
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        rows += [(name, f"{name}.png", SOURCE, "unknown", "train") for name in names]
    with (options.output / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return int(failed > 0)


def label_image(path: Path, folder: Path, predictor: Predictor, least_score: float) -> list[str]:
    """Label an image, window by window; returns the names of those that hold a cell."""
    method = predictor.settings
    names = []
    with open_image(path) as image:
        normal = Normalised(image, method.low_percentile, method.high_percentile)
        shape = (image.shape[0], image.shape[1])
        for number, (x0, y0, x1, y1) in enumerate(windows(shape, method)):
            window = normal[y0:y1, x0:x1]
            boxes, _ = fuse_views(window, predictor.detector, method, least_score)
            labels = outline(window, boxes, predictor.segmenter, method)
            if labels.count:
                name = f"{path.name.split('.')[0]}-{number}"
                cv2.imwrite(str(folder / "images" / f"{name}.png"), window[:, :, ::-1])
                write_label(folder / "labels" / f"{name}_label.tiff", labels)
                names.append(name)
    return names


def fuse_views(image: NDArray[np.uint8], run: Run, method: Method, least_score: float) -> Boxes:
    """Boxes that eight views of an image agree on.

    Args:
        image: (H, W, 3) uint8, normalised.
        run: the detector, as ``app.detect.detect`` wants it.
        least_score: of a fused box; one that few views have found scores low.

    Returns:
        (N, 4) float32 xyxy boxes in pixels of the image, best first; (N,) scores.
    """
    shape = (image.shape[0], image.shape[1])
    size = np.array([shape[1], shape[0]] * 2, np.float32)
    # A view in which a cell is missed counts as 0, so one that hardly sees it must still say so.
    hopeful = dataclasses.replace(method, score_threshold=LEAST_IN_VIEW)
    found = [detect(turn(image, view), run, hopeful) for view in range(VIEWS)]
    shares = [turn_back(boxes, view, shape) / size for view, (boxes, _) in enumerate(found)]
    boxes, scores, _ = weighted_boxes_fusion(
        [np.clip(share, 0, 1) for share in shares],
        [scores for _, scores in found],
        [np.zeros(len(scores)) for _, scores in found],
        iou_thr=method.nms_iou,
    )
    good = scores > least_score
    return (boxes[good] * size).astype(np.float32), scores[good].astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
