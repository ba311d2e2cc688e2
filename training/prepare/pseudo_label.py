"""Labels for unlabelled images, by a model that was trained already, for the final stage.

    python -m training.prepare.pseudo_label WEIGHTS DATA/Train_Unlabeled/images RUN/pseudo

WEIGHTS are exported ones (training/export.py), of the preliminary model. Every image is shown in
the look that prediction chooses and detected in eight views, turned and mirrored; their boxes are
merged by weighted boxes fusion, and those above the threshold are segmented; lower ones may be
cells too and are neither cells nor background in training (ignored.json). Images larger than a
window are cut into windows. RUN/pseudo becomes a folder in the challenge's layout, with the windows
as images, as they were shown, so that labels can be looked at (training/report/overlay.py) and
trained on (``unlabelled`` in a stage's configuration).

It can be stopped at any time; the same command continues it. pseudo_labels.jsonl has a line for
each image that is done: it is done again only if the image, the weights or the threshold have
changed. metadata.csv is written at the end, so that nothing is trained on half of the labels.

Source: VSM paper, section 2.4 (semi-supervised training).
"""

import hashlib
import json
import sys
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from app.files.arrays import ImageError
from app.files.atomic import atomic_write
from app.files.folder import describe_passed, list_folder
from app.files.kinds import stem
from app.files.labels import write_label
from app.files.open import open_image
from app.predict import Predictor, outline
from app.processor import available_threads
from app.settings import FILE_NAME
from app.tile import windows
from app.version import __version__
from training.command import command_parser, user_errors
from training.errors import InputError
from training.ignored import without_label
from training.look import show
from training.prepare.pseudo_records import (
    Record,
    identify,
    keep,
    open_records,
    remove,
    window_files,
    write_metadata,
)
from training.views import detect_views

_MIN_DOUBTFUL_SCORE = 0.2  # of a fused box that is neither a cell nor background


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
        if not 0 <= options.min_score < 1:
            raise InputError(f"--min-score {options.min_score}: wanted a number from 0 to below 1")
        predictor = Predictor(options.weights, "auto", available_threads())
        images, failed = find_images(options.images)
        settings = (options.weights / FILE_NAME).read_text()
        method = [__version__, settings, [asdict(g) for g in predictor.graphs], options.min_score]
        made_by = hashlib.sha256(json.dumps(method).encode()).hexdigest()
        with open_records(options.output, options.images) as (file, done):
            records = keep(done, images, made_by, options.output)
            kept = len(records)
            waiting = [path for path in images if path.name not in records]
            for path in tqdm(waiting, unit="image", disable=None):
                try:
                    identity = identify(path)
                    made = label_image(path, options.output, predictor, options.min_score)
                except (ImageError, MemoryError) as error:
                    what = f"{path}: needs more memory than there is; cut it into smaller images"
                    tell(str(error) if isinstance(error, ImageError) else what)
                    failed += 1
                    continue
                about = path.name, str(options.images.resolve()), *identity, made_by, made
                records[path.name] = Record(*about)
                # A line begins anew, since the one before may be cut off.
                file.write("\n" + json.dumps(asdict(records[path.name])))
                file.flush()
            write_metadata(options.output, [records[p.name] for p in images if p.name in records])
    empty = sum(not record.windows for record in records.values())
    count = sum(len(record.windows) for record in records.values())
    print(
        f"images: {len(records)} done ({kept} of them earlier, {empty} without a cell), "
        f"{failed} failed; labelled windows: {count}"
    )
    return int(failed > 0)


def tell(problem: str) -> None:
    """Name an image that can't be labelled; all others can."""
    tqdm.write(f"error: {problem}", file=sys.stderr)


def find_images(folder: Path) -> tuple[list[Path], int]:
    """The images of a folder that can be labelled, and how many can't; these are told.

    Raises:
        OSError: the folder can't be read.
        InputError: there is no image in it.
    """
    listing = list_folder(folder)
    passed_over = describe_passed(listing)
    if not listing.images and not listing.unreadable:
        found = "; ".join(passed_over) or "it is empty"
        raise InputError(f"{folder}: no image in this folder ({found}); give one with images")
    for line in passed_over:
        print(line, file=sys.stderr)
    problems = [f"{path}: can't be read ({reason})" for path, reason in listing.unreadable.items()]
    named: dict[str, list[Path]] = defaultdict(list)
    for path in listing.images:
        named[stem(path.name)].append(path)
    for name, paths in named.items():
        if len(paths) > 1:
            who = " and ".join(path.name for path in paths)
            problems += [
                f"{path}: {who} would be labelled as the same {name}; rename all but one"
                for path in paths
            ]
    for problem in problems:
        tell(problem)
    return [path for path in listing.images if len(named[stem(path.name)]) == 1], len(problems)


def label_image(
    path: Path, root: Path, predictor: Predictor, min_score: float
) -> dict[str, list[list[float]]]:
    """Label an image, window by window.

    Args:
        path: the image.
        root: a folder in the challenge's layout; receives the windows and their label images.
        predictor: shows, detects and segments.
        min_score: of a fused box that becomes a cell.

    Returns:
        Of each window that holds a cell, by name: the boxes xyxy, in its pixels, of what scores
        lower and may be a cell too.

    Raises:
        ImageError: the image can't be read.
        OSError: a window can't be written.
    """
    method = predictor.method
    made: dict[str, list[list[float]]] = {}
    with open_image(path) as image:
        places = windows((image.shape[0], image.shape[1]), method)
        every = [f"{stem(path.name)}-{number}" for number in range(len(places))]
        remove(root, every)  # of a process that was killed
        shown, look = show(image, predictor)
        if not look.channels:
            return made
        for name, (x0, y0, x1, y1) in zip(every, places, strict=True):
            window = shown[y0:y1, x0:x1]
            boxes, scores = detect_views(
                window,
                predictor.detector,
                method,
                min(min_score, _MIN_DOUBTFUL_SCORE),
                look.magnification,
            )
            sure = boxes[scores > min_score]
            labels = outline(window, sure, predictor.segmenter, method).labels
            if labels.count:
                write_window(window_files(root, name)[0], window)
                write_label(window_files(root, name)[1], labels)
                doubtful = without_label(boxes[scores <= min_score], sure, labels[:, :])
                made[name] = doubtful.round(1).tolist()
    return made


def write_window(path: Path, window: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) uint8 RGB as a PNG file that is whole or not there.

    Raises:
        OSError: it can't be written.
    """
    _, data = cv2.imencode(".png", window[:, :, ::-1])
    with atomic_write(path) as part:
        part.write_bytes(data.tobytes())


if __name__ == "__main__":
    sys.exit(main())
