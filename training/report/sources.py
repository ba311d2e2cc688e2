"""The sources of a data set, for a model card: how many images, what F1, which licence.

    python -m training.report.sources DATA VAL PROBE

VAL and PROBE are folders of predicted label images of these splits (python -m training.data,
python -m app). Prints a row for each source: its modalities, the images and cells of split
``train``, the mean F1 at an IoU of 0.5 over its images of ``val`` or ``probe``, with their number,
and the licence as metadata.csv has it.
"""

import sys
from pathlib import Path
from statistics import fmean

from training.command import command_parser, user_errors
from training.judge import SPLITS, grouped
from training.layout import LABELS, METADATA, label_path, read_metadata
from training.metric import read_labels, score_image
from training.report.markdown import head

_COLUMNS = ("name", "source", "modality", "split", "instances", "licence")
_MAX_LICENCE = 120  # characters; the data set's own README.md has all of it


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = command_parser(__doc__)
    for name in ("data", *SPLITS):
        parser.add_argument(name, type=Path)
    options = parser.parse_args(arguments)
    with user_errors(parser):
        rows = read_metadata(options.data / METADATA, _COLUMNS)
        folders = {split: getattr(options, split) for split in SPLITS}
        f1 = {split: mean_f1(rows, split, options.data, folders[split]) for split in SPLITS}
    print(
        head(
            ["source", "modality", "train: images, cells", "`val`", "`probe`", "licence, as found"]
        )
    )
    for source in sorted({row["source"] for row in rows}):
        some = [row for row in rows if row["source"] == source]
        train = [row for row in some if row["split"] == "train"]
        cells = sum(int(row["instances"]) for row in train)
        modalities = ", ".join(sorted({row["modality"] for row in some}))
        licence = shorten(some[0]["licence"])
        trained = f"{len(train)}, {cells:,}" if train else ""
        scores = " | ".join(f1[split].get(source, "") for split in SPLITS)
        print(f"| `{source}` | {modalities} | {trained} | {scores} | {licence} |")
    return 0


def mean_f1(
    rows: list[dict[str, str]], split: str, data: Path, predictions: Path
) -> dict[str, str]:
    """Of each source of a split the mean F1 over its images, and their number, as text.

    Raises:
        InputError: a prediction is missing or can't be read.
    """
    scores = []
    for row in rows:
        if row["split"] == split:
            truth = read_labels(label_path(data / LABELS, row["name"]))
            found = read_labels(label_path(predictions, row["name"]))
            scores.append((row["source"], score_image(truth, found)[0].f1))
    return {source: f"{fmean(some):.3f} ({len(some)})" for source, some in grouped(scores).items()}


def shorten(licence: str) -> str:
    """A licence as a cell of the table; what is too long ends at a word, with dots."""
    if len(licence) <= _MAX_LICENCE:
        return licence
    return licence[:_MAX_LICENCE].rsplit(" ", 1)[0].rstrip(" ,;:(") + " …"


if __name__ == "__main__":
    sys.exit(main())
