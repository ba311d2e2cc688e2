"""Trained detectors side by side, before one is exported: F1 of boxes on splits val and probe.

    python -m training.report.compare CONFIG DATA RUN/STAGE/best.pt ...

Every image is shown in the usual way and boxes are matched at an IoU of 0.5, so that nothing but
the detectors differs; on a GPU, if there is one. A row for each: the mean over the sources of
``probe``, over those of ``val`` (training/judge.py), and over the images of ``val``, all and by
modality.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from tqdm import tqdm

from app.detect import detect
from app.session import Run
from app.settings import Method
from training.command import command_parser, user_errors
from training.config import load_config
from training.data import Labelled, load_rows
from training.errors import InputError
from training.export import ExportedDetector, load_model, runner
from training.judge import SPLITS, Scored, by_source, group_means
from training.layout import read_split
from training.models.detector import Detector
from training.report.markdown import head, line
from training.tasks import box_f1
from training.trainer import best_device


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = command_parser(__doc__)
    parser.add_argument("config", type=Path, help="has the method")
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    with user_errors(parser):
        method = load_config(options.config).method
        detectors = {path: read_detector(path) for path in options.checkpoints}
        rows = read_split(options.data, *SPLITS)
        splits = [row["split"] for row in rows]
        images = list(zip(splits, load_rows(options.data, rows, method), strict=True))
        scores = {str(path): score(run, images, method) for path, run in detectors.items()}
    print(table(scores))
    return 0


def read_detector(path: Path) -> Run:
    """A detector of a checkpoint, on the best device.

    Raises:
        OSError: there is no such file.
        InputError: it is no detector's.
    """
    model, _ = load_model(path)
    if not isinstance(model, Detector):
        raise InputError(f"{path}: is not of a detector; give the checkpoints of detectors")
    return runner(ExportedDetector(model).to(best_device()))


def score(run: Run, images: Sequence[tuple[str, Labelled]], method: Method) -> list[Scored]:
    """The F1 of the boxes in each image; with each comes its split."""
    return [
        Scored(
            split,
            image.source,
            image.modality,
            box_f1(detect(image.image, run, method)[0], image.boxes),
        )
        for split, image in tqdm(images, unit="image", disable=None)
    ]


def table(rows: dict[str, list[Scored]]) -> str:
    """Markdown; a row for each detector, by name."""
    lines: list[str] = []
    for name, scored in rows.items():
        means = summarise(scored)
        if not lines:
            lines = [head(["", *means])]
        lines.append(line([name, *(f"{value:.4f}" for value in means.values())]))
    return "\n".join(lines)


def summarise(rows: Sequence[Scored]) -> dict[str, float]:
    """Means by what they are of."""
    val = [row for row in rows if row.split == "val"]
    return {
        **{
            f"{split} sources": fmean(map(fmean, groups.values()))
            for split in reversed(SPLITS)
            if (groups := by_source(rows, split))
        },
        "val images": fmean(row.f1 for row in val),
        **group_means([(row.modality, row.f1) for row in val]),
    }


if __name__ == "__main__":
    sys.exit(main())
