"""Score a folder of predictions by the metric of training/metric.py.

    python -m training.evaluate LABELS PREDICTIONS
    python -m training.evaluate LABELS PREDICTIONS --metadata metadata.csv --split val \
        --thresholds 0.5 0.75 0.9 --csv scores.csv --boundary

Both folders hold NAME_label.tiff. The table of mean and median F1 goes to stdout, trouble with
single files to stderr, and one row for each image and threshold to the CSV file. With --boundary
a second table follows: boundary IoU (training/boundary.py) and mask IoU of the pairs matched at IoU
0.5, as the mean over images of the mean over the pairs of an image. Exit status: 0
every image scored, a missing prediction as 0; 1 some prediction could not be used, which is named
and scores 0; 2 wrong usage or unusable truth, nothing written.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import numpy as np

from training.boundary import pair_ious
from training.command import command_parser, user_errors
from training.errors import InputError
from training.judge import grouped
from training.layout import LABEL_SUFFIX, label_path, read_metadata
from training.metric import Score, read_labels, score_image

_METADATA_COLUMNS = ("name", "modality", "source", "split")


class Image(NamedTuple):
    """A labelled image; modality and source are empty where no metadata was given."""

    name: str
    modality: str = ""
    source: str = ""


class Row(NamedTuple):
    """The score of one image at one IoU threshold: one row of the CSV file."""

    image: Image
    threshold: float
    score: Score


class Summary(NamedTuple):
    """F1 over the images of one group at one IoU threshold: one row of the printed table."""

    threshold: float
    by: str
    group: str
    images: int
    mean_f1: float
    median_f1: float


class Outlines(NamedTuple):
    """How well the outlines of an image's matched pairs agree: the means over these pairs."""

    image: Image
    pairs: int
    boundary_iou: float
    mask_iou: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line above and return its exit status."""
    parser = command_parser(__doc__)
    parser.add_argument("labels", type=Path, help=f"folder of true NAME{LABEL_SUFFIX}")
    parser.add_argument("predictions", type=Path, help=f"folder of predicted NAME{LABEL_SUFFIX}")
    parser.add_argument("--metadata", type=Path, help="CSV file; summarise by modality and source")
    parser.add_argument("--split", help="score this split of the metadata, not every label")
    parser.add_argument(
        "--thresholds", type=_threshold, nargs="+", default=[0.5], help="IoU, default 0.5"
    )
    parser.add_argument("--csv", type=Path, help="file to write the score of each image to")
    parser.add_argument(
        "--boundary", action="store_true", help="boundary IoU of matched pairs, too"
    )
    args = parser.parse_args(argv)
    thresholds = sorted(set(args.thresholds))
    with user_errors(parser):
        images = select_images(args.labels, args.metadata, args.split)
        rows, complete = score_folder(images, args.labels, args.predictions, thresholds)
        if args.csv:
            write_csv(args.csv, rows)
        outlines = (
            measure_outlines(images, args.labels, args.predictions) if args.boundary else None
        )
    print(format_table(summarise(rows)))
    if outlines is not None:
        print(f"\n{format_outlines(outlines)}")
    return 0 if complete else 1


def select_images(labels: Path, metadata: Path | None, split: str | None) -> list[Image]:
    """The images to score: every label of a folder or, given a split, the metadata's rows of it.

    Raises:
        InputError: nothing to score, a label of the split is missing, or a label has no metadata.
    """
    names = sorted(path.name.removesuffix(LABEL_SUFFIX) for path in labels.glob(f"*{LABEL_SUFFIX}"))
    if not names:
        raise InputError(f"{labels}: no NAME{LABEL_SUFFIX} found; give the folder of true labels")
    if metadata is None:
        if split is not None:
            raise InputError(f"--split {split} needs --metadata, the CSV file that defines it")
        return [Image(name) for name in names]
    known = {row["name"]: row for row in read_metadata(metadata, _METADATA_COLUMNS)}
    if split is not None:
        names = [name for name, row in known.items() if row["split"] == split]
        if not names:
            splits = sorted({row["split"] for row in known.values()})
            raise InputError(f"{metadata}: no row of split {split}; it has {', '.join(splits)}")
    for name in names:
        if name not in known:
            raise InputError(f"{metadata}: no row named {name}; add it, or choose a --split")
        path = label_path(labels, name)
        if not path.is_file():
            raise InputError(f"{path}: no such label, but {metadata} lists it")
    return [Image(name, known[name]["modality"], known[name]["source"]) for name in names]


def score_folder(
    images: Sequence[Image], labels: Path, predictions: Path, thresholds: Sequence[float]
) -> tuple[list[Row], bool]:
    """Score the prediction of every image; a missing or unusable one counts as empty.

    Returns:
        One row for each image and threshold, and whether every prediction that is there was used.

    Raises:
        InputError: a label can't be read, or there is no folder of predictions.
    """
    if not predictions.is_dir():
        raise InputError(f"{predictions}: no such folder; give the folder of predicted labels")
    rows: list[Row] = []
    complete = True
    for image in images:
        true = read_labels(label_path(labels, image.name))
        path = label_path(predictions, image.name)
        predicted = np.zeros_like(true)
        if path.exists():
            try:
                predicted = read_labels(path, true.shape)
            except InputError as error:
                print(f"{error}; scored 0", file=sys.stderr)
                complete = False
        else:
            print(f"{path}: no such prediction; scored 0", file=sys.stderr)
        scores = score_image(true, predicted, thresholds)
        rows += [Row(image, *pair) for pair in zip(thresholds, scores, strict=True)]
    return rows, complete


def measure_outlines(images: Sequence[Image], labels: Path, predictions: Path) -> list[Outlines]:
    """Compare the outlines of every image that has a matched pair.

    A missing or unusable prediction has none; ``score_folder`` says which these are.

    Raises:
        InputError: a label can't be read.
    """
    outlines: list[Outlines] = []
    for image in images:
        true = read_labels(label_path(labels, image.name))
        try:
            predicted = read_labels(label_path(predictions, image.name), true.shape)
        except InputError:
            continue
        ious = pair_ious(true, predicted)
        if len(ious):
            outlines.append(Outlines(image, len(ious), *ious.mean(axis=0).tolist()))
    return outlines


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """Mean and median F1 over images: by modality and by source where known, and overall."""
    summaries: list[Summary] = []
    thresholds = sorted({row.threshold for row in rows})
    for by in ("modality", "source", "overall"):
        for threshold in thresholds:
            scores = (
                (getattr(row.image, by, "all"), row.score.f1)
                for row in rows
                if row.threshold == threshold
            )
            summaries += [
                Summary(threshold, by, group, len(f1), fmean(f1), median(f1))
                for group, f1 in grouped(scores).items()
                if group
            ]
    return summaries


def format_table(summaries: Sequence[Summary]) -> str:
    """Summaries as a Markdown table."""
    wide = max(len("group"), *(len(summary.group) for summary in summaries))
    head = f"| IoU  | by       | {'group':{wide}} | images | mean F1 | median F1 |"
    rule = "".join("|" if character == "|" else "-" for character in head)
    return "\n".join(
        [head, rule]
        + [
            f"| {threshold:<4g} | {by:8} | {group:{wide}} | {images:6} "
            f"| {mean_f1:7.4f} | {median_f1:9.4f} |"
            for threshold, by, group, images, mean_f1, median_f1 in summaries
        ]
    )


def format_outlines(outlines: Sequence[Outlines]) -> str:
    """Means over images, by modality where known and overall, as a Markdown table."""
    if not outlines:
        return "No pair reaches IoU 0.5, so there is no boundary IoU."
    wide = max(len("group"), *(len(row.image.modality) for row in outlines))
    head = f"| by       | {'group':{wide}} | images | pairs   | boundary IoU | mask IoU |"
    lines = [head, "".join("|" if character == "|" else "-" for character in head)]
    for by in ("modality", "overall"):
        for group in sorted({getattr(row.image, by, "all") for row in outlines} - {""}):
            some = [row for row in outlines if getattr(row.image, by, "all") == group]
            lines.append(
                f"| {by:8} | {group:{wide}} | {len(some):6} | {sum(row.pairs for row in some):7} "
                f"| {fmean(row.boundary_iou for row in some):12.4f} "
                f"| {fmean(row.mask_iou for row in some):8.4f} |"
            )
    return "\n".join(lines)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write one line for each image and threshold; ratios in [0, 1] with four decimals."""
    counts, ratios = ("true", "predicted", "tp", "fp", "fn"), ("precision", "recall", "f1")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*Image._fields, "threshold", *counts, *ratios])
        for image, threshold, score in rows:
            writer.writerow(
                [*image, threshold]
                + [getattr(score, count) for count in counts]
                + [f"{getattr(score, ratio):.4f}" for ratio in ratios]
            )


def _threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no IoU to reach; give one in (0, 1]")
    return value


if __name__ == "__main__":
    sys.exit(main())
