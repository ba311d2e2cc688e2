"""F1 of predicted instances, by the rules of the NeurIPS 2022 Cell Segmentation challenge.

    python -m training.evaluate LABELS PREDICTIONS
    python -m training.evaluate LABELS PREDICTIONS --metadata metadata.csv --split val \
        --thresholds 0.5 0.75 0.9 --csv scores.csv

Both folders hold NAME_label.tiff. The table of mean and median F1 goes to stdout, trouble with
single files to stderr, and one row for each image and threshold to the CSV file. Exit status: 0
every image scored, a missing prediction as 0; 1 some prediction could not be used, which is named
and scores 0; 2 wrong usage or unusable truth, nothing written.

Rules (after ``baseline/compute_metric.py`` of JunMa11/NeurIPS-CellSeg):
- Instances that touch the outer two pixels are removed, from truth and prediction separately.
- Truth and prediction are matched one to one, so that the most pairs reach the threshold in IoU;
  each such pair is a true positive. The organisers' Hungarian costs put every pair above any sum
  of IoUs, so a maximum bipartite matching counts the same, and needs the overlapping pairs alone.
- An image of 25 million pixels or more is cut into blocks of 2000 x 2000, padded with zeros. Each
  block has its own border removal and matching, and F1 comes from the sums over the blocks. An
  instance cut by a block's edge therefore does not count.
- F1 is 0 without true positives, also where neither truth nor prediction has an instance left.

Where this differs, on purpose:
- A missing prediction scores 0; the organisers' script looks only at the predictions there are.
- Misses are counted also where a prediction, or a block of it, is empty. There the organisers'
  script reports 0 of them; F1 does not use that number and is the same.
- A prediction keeps its ids in large images. The organisers' script casts them to the dtype of the
  truth, where ids above 65,535 can wrap.
- Means are taken over exact F1 values; the organisers' script first rounds them to 4 decimals.
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

BORDER = 2  # pixels from the edge within which an instance is taken for cut
WHOLE_BELOW = 25_000_000  # pixels from which an image is scored in blocks
BLOCK = 2000  # side of such a block, pixels
SUFFIX = "_label.tiff"
_LARGEST_ID = 2**32 - 1
_METADATA_COLUMNS = ("name", "modality", "source", "split")


@dataclass(frozen=True)
class Score:
    """Instances counted in one image at one IoU threshold, after border removal."""

    true: int
    predicted: int
    tp: int

    @property
    def fp(self) -> int:
        return self.predicted - self.tp

    @property
    def fn(self) -> int:
        return self.true - self.tp

    @property
    def precision(self) -> float:
        return self.tp / self.predicted if self.tp else 0.0

    @property
    def recall(self) -> float:
        return self.tp / self.true if self.tp else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.tp / (self.true + self.predicted) if self.tp else 0.0


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line above and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description="F1 by the rules of the NeurIPS 2022 Cell Segmentation challenge.",
    )
    parser.add_argument("labels", type=Path, help=f"folder of true NAME{SUFFIX}")
    parser.add_argument("predictions", type=Path, help=f"folder of predicted NAME{SUFFIX}")
    parser.add_argument("--metadata", type=Path, help="CSV file; summarise by modality and source")
    parser.add_argument("--split", help="score this split of the metadata, not every label")
    parser.add_argument(
        "--thresholds", type=_threshold, nargs="+", default=[0.5], help="IoU, default 0.5"
    )
    parser.add_argument("--csv", type=Path, help="file to write the score of each image to")
    args = parser.parse_args(argv)
    thresholds = sorted(set(args.thresholds))
    try:
        images = select_images(args.labels, args.metadata, args.split)
        rows, complete = score_folder(images, args.labels, args.predictions, thresholds)
        if args.csv:
            write_csv(args.csv, rows)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(format_table(summarise(rows)))
    return 0 if complete else 1


def select_images(labels: Path, metadata: Path | None, split: str | None) -> list[Image]:
    """The images to score: every label of a folder or, given a split, the metadata's rows of it.

    Raises:
        ValueError: nothing to score, a label of the split is missing, or a label has no metadata.
    """
    names = sorted(path.name.removesuffix(SUFFIX) for path in labels.glob(f"*{SUFFIX}"))
    if not names:
        raise ValueError(f"{labels}: no NAME{SUFFIX} found; give the folder of true labels")
    if metadata is None:
        if split is not None:
            raise ValueError(f"--split {split} needs --metadata, the CSV file that defines it")
        return [Image(name) for name in names]
    known = _read_metadata(metadata)
    if split is not None:
        names = [name for name, row in known.items() if row["split"] == split]
        if not names:
            splits = sorted({row["split"] for row in known.values()})
            raise ValueError(f"{metadata}: no row of split {split}; it has {', '.join(splits)}")
    for name in names:
        if name not in known:
            raise ValueError(f"{metadata}: no row named {name}; add it, or choose a --split")
        if not (labels / f"{name}{SUFFIX}").is_file():
            raise ValueError(f"{labels / name}{SUFFIX}: no such label, but {metadata} lists it")
    return [Image(name, known[name]["modality"], known[name]["source"]) for name in names]


def score_folder(
    images: Sequence[Image], labels: Path, predictions: Path, thresholds: Sequence[float]
) -> tuple[list[Row], bool]:
    """Score the prediction of every image; a missing or unusable one counts as empty.

    Returns:
        One row for each image and threshold, and whether every prediction that is there was used.

    Raises:
        ValueError: a label can't be read, or there is no folder of predictions.
    """
    if not predictions.is_dir():
        raise ValueError(f"{predictions}: no such folder; give the folder of predicted labels")
    rows: list[Row] = []
    complete = True
    for image in images:
        true = read_labels(labels / f"{image.name}{SUFFIX}")
        path = predictions / f"{image.name}{SUFFIX}"
        predicted = np.zeros_like(true)
        if path.exists():
            try:
                predicted = read_labels(path, true.shape)
            except ValueError as error:
                print(f"{error}; scored 0", file=sys.stderr)
                complete = False
        else:
            print(f"{path}: no such prediction; scored 0", file=sys.stderr)
        scores = score_image(true, predicted, thresholds)
        rows += [Row(image, *pair) for pair in zip(thresholds, scores, strict=True)]
    return rows, complete


def score_image(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    thresholds: Sequence[float] = (0.5,),
    whole_below: int = WHOLE_BELOW,
    block: int = BLOCK,
) -> list[Score]:
    """Count and match the instances of one image.

    Args:
        true: (H, W) integers, 0 = background, 1 to 2**32 - 1 = instances; the ids may have
            gaps and an instance several parts.
        predicted: the same, of the same shape.
        thresholds: IoU in (0, 1] that a pair must reach.
        whole_below: number of pixels from which the image is scored in blocks.
        block: side of such a block, pixels.

    Returns:
        One score for each threshold.
    """
    if true.shape != predicted.shape:
        raise ValueError(f"shapes {true.shape} and {predicted.shape} differ; they must be equal")
    parts = [(true, predicted)] if true.size < whole_below else _cut_blocks(true, predicted, block)
    counts = sum(_count_instances(*part, thresholds) for part in parts)
    return [Score(*row) for row in np.asarray(counts).tolist()]


def remove_border_instances(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """A copy of an (H, W) label image without the instances that touch its outer two pixels."""
    border = np.ones(labels.shape, np.bool_)
    border[BORDER:-BORDER, BORDER:-BORDER] = False
    return np.where(np.isin(labels, np.unique(labels[border])), 0, labels)


def read_labels(path: Path, shape: tuple[int, ...] | None = None) -> NDArray[np.uint32]:
    """Read a label image, (H, W) uint32, 0 = background.

    Raises:
        ValueError: the file is missing, broken, not one page of ids, or not of the wanted shape.
    """
    try:
        labels = np.asarray(tifffile.imread(path))
    # Broken files make tifffile and its codecs raise nearly any exception.
    except Exception as error:
        raise ValueError(
            f"{path}: can't be read ({type(error).__name__}: {error}); write it again as TIFF"
        ) from error
    if labels.ndim != 2 or not labels.size or (shape and labels.shape != shape):
        raise ValueError(
            f"{path}: shape {labels.shape}, wanted {shape or '(H, W)'}; write one page, with the "
            "height and width of the image"
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > _LARGEST_ID:
        raise ValueError(
            f"{path}: {labels.dtype} values from {labels.min()} to {labels.max()}, wanted integers "
            f"from 0 to {_LARGEST_ID}; write instance ids as uint16 or uint32"
        )
    return labels.astype(np.uint32, copy=False)


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """Mean and median F1 over images: by modality and by source where known, and overall."""
    summaries: list[Summary] = []
    for by in ("modality", "source", "overall"):
        groups: dict[tuple[float, str], list[float]] = {}
        for row in rows:
            group = getattr(row.image, by, "all")
            if group:
                groups.setdefault((row.threshold, group), []).append(row.score.f1)
        summaries += [
            Summary(threshold, by, group, len(f1), fmean(f1), median(f1))
            for (threshold, group), f1 in sorted(groups.items())
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


def _count_instances(
    true: NDArray[np.integer], predicted: NDArray[np.integer], thresholds: Sequence[float]
) -> NDArray[np.int64]:
    """True instances, predicted ones and matched pairs of a block: (len(thresholds), 3) int64."""
    true, predicted = remove_border_instances(true), remove_border_instances(predicted)
    true_ids, true_areas = np.unique(true[true > 0], return_counts=True)
    predicted_ids, predicted_areas = np.unique(predicted[predicted > 0], return_counts=True)

    # A pixel of both has the pair of ids as one number, the true id in the upper half.
    both = (true > 0) & (predicted > 0)
    pixels = true[both].astype(np.uint64) << 32 | predicted[both].astype(np.uint64)
    pairs, overlap = np.unique(pixels, return_counts=True)
    row = np.searchsorted(true_ids, pairs >> 32)
    column = np.searchsorted(predicted_ids, pairs & _LARGEST_ID)
    iou = overlap / (true_areas[row] + predicted_areas[column] - overlap)

    counts = np.empty((len(thresholds), 3), np.int64)
    for i, threshold in enumerate(thresholds):
        reached = iou >= threshold
        graph = csr_array(
            (reached[reached], (row[reached], column[reached])),
            shape=(len(true_ids), len(predicted_ids)),
        )
        matched = np.count_nonzero(maximum_bipartite_matching(graph) >= 0)
        counts[i] = len(true_ids), len(predicted_ids), matched
    return counts


def _cut_blocks(
    true: NDArray[np.integer], predicted: NDArray[np.integer], block: int
) -> Iterator[tuple[NDArray[np.integer], NDArray[np.integer]]]:
    """Both images in blocks of (block, block), row by row, the last ones padded with zeros."""
    height, width = true.shape
    for top in range(0, height, block):
        for left in range(0, width, block):
            window = np.s_[top : top + block, left : left + block]
            padding = [(0, block - length) for length in true[window].shape]
            yield np.pad(true[window], padding), np.pad(predicted[window], padding)


def _read_metadata(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a metadata file, by the name of the image."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = set(_METADATA_COLUMNS) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(
                f"{path}: lacks {', '.join(sorted(missing))}; "
                f"wanted a CSV file with columns {', '.join(_METADATA_COLUMNS)}"
            )
        return {row["name"]: row for row in reader}


def _threshold(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no IoU to reach; give one in (0, 1]")
    return value


if __name__ == "__main__":
    sys.exit(main())
