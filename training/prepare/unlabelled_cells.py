"""What may be cells that have no label: where a teacher is sure and no label agrees.

    python -m training.prepare.unlabelled_cells WEIGHTS DATA OUT.json

WEIGHTS are exported ones (training/export.py). For each image of split ``train`` of the sources
in which cells are known to lack labels, OUT.json has the boxes xyxy, in pixels of the image, in
which the detector then learns neither that there is a cell nor that there is none: ``ignored`` in
a stage's configuration. There OUT.json lies in the folder of the run. Each image is shown in the
look that prediction chooses, in which the teacher is surest.
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from app.files.open import read_image
from app.predict import Predictor
from app.processor import available_threads
from training.command import command_parser, user_errors
from training.data import load_image
from training.errors import InputError
from training.ignored import without_label, write_ignored
from training.layout import image_path, read_split
from training.look import find

SOURCES = (
    "neurips22_train_dic",
    "usiigaci_t98g",
    "deepcell_phase",
    "fluocells_sample",
    "rbc_bbbc041seg",
    "he_monuseg2018",
    "he_monuseg2018_markers",
)
_MIN_SCORE = 0.6


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
            if len(left := without_label(found, image.boxes, image.label)):
                boxes[image.name] = left.round(1).tolist()
        write_ignored(options.output, boxes)
    print(f"{sum(map(len, boxes.values()))} boxes in {len(boxes)} of {len(rows)} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
