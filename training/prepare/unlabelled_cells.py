"""What may be cells that have no label: where a teacher is sure and no label agrees.

    python -m training.prepare.unlabelled_cells WEIGHTS DATA OUT.json

WEIGHTS are exported ones (training/export.py). For each image of split ``train`` of the sources
in which cells are known to lack labels, OUT.json has the boxes xyxy, in pixels of the image, in
which the detector then learns neither that there is a cell nor that there is none: ``ignored`` in
a stage's configuration. There OUT.json lies in the folder of the run. Each image is shown in the
look that prediction chooses, in which the teacher is surest.
"""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from app.files.atomic import atomic_write
from app.files.open import read_image
from app.predict import Predictor
from app.processor import available_threads
from training.command import command_parser, user_errors
from training.data import Labelled, load_image
from training.errors import InputError
from training.layout import image_path, read_split
from training.look import find
from training.losses import paired_iou

SOURCES = (
    "neurips22_train_dic",
    "usiigaci_t98g",
    "deepcell_phase",
    "fluocells_sample",
    "rbc_bbbc041seg",
)
_MIN_SCORE = 0.6
_MAX_IOU = 0.3  # with a labelled cell
_MAX_COVERED = 0.3  # of a box, by labels


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = command_parser(__doc__)
    for name in ("weights", "data", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--sources", nargs="+", default=SOURCES, help="of metadata.csv")
    options = parser.parse_args(arguments)
    with user_errors(parser):
        predictor = Predictor(options.weights, "auto", available_threads())
        method = dataclasses.replace(predictor.method, score_threshold=_MIN_SCORE)
        rows = read_split(options.data, "train")
        rows = [row for row in rows if row["source"] in options.sources]
        if not rows:
            raise InputError(
                f"{options.data}: split train has none of {', '.join(options.sources)}"
            )
        boxes = {}
        for row in tqdm(rows, unit="image", disable=None):
            image = load_image(options.data, row, method)
            pixels = np.atleast_3d(read_image(image_path(options.data, row)))
            _, found, _ = find(pixels, predictor, method)
            if len(left := without_label(found, image)):
                boxes[image.name] = left.round(1).tolist()
        with atomic_write(options.output) as part:
            part.write_text(json.dumps(boxes))
    print(f"{sum(map(len, boxes.values()))} boxes in {len(boxes)} of {len(rows)} images")
    return 0


def without_label(found: NDArray[np.float32], image: Labelled) -> NDArray[np.float32]:
    """The boxes (N, 4) that no labelled cell overlaps, and labels hardly cover: (M, 4)."""
    if not len(found):
        return found
    alone = np.ones(len(found), np.bool_)
    if len(image.boxes):
        iou = paired_iou(torch.from_numpy(found)[:, None], torch.from_numpy(image.boxes)[None])
        alone = (iou.amax(1) <= _MAX_IOU).numpy()
    covered = []
    for x0, y0, x1, y1 in np.rint(found).astype(int).tolist():
        part = image.label[max(y0, 0) : max(y1, y0 + 1), max(x0, 0) : max(x1, x0 + 1)]
        covered.append(float((part > 0).mean()) if part.size else 1.0)
    return found[alone & (np.array(covered) < _MAX_COVERED)]


def with_ignored(images: list[Labelled], path: Path) -> list[Labelled]:
    """Images with the boxes that ``main`` wrote to a file.

    Raises:
        OSError: there is no such file.
        InputError: it is not one that ``main`` wrote.
    """
    try:
        boxes = {
            name: np.array(found, np.float32).reshape(-1, 4)
            for name, found in json.loads(path.read_text()).items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: no boxes of this command ({error}); write it again") from error
    none = np.zeros((0, 4), np.float32)
    return [dataclasses.replace(image, ignored=boxes.get(image.name, none)) for image in images]


if __name__ == "__main__":
    sys.exit(main())
