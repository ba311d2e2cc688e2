"""Choose the thresholds of weights by their F1, and see how far a score can be trusted.

    python -m training.choose weights DATA REPORT [--write]

Both graphs run once over splits ``val`` and, where there is one, ``probe`` of DATA, each image in
the look that prediction chooses by the settings as they are, with thresholds so low that hardly a
cell is lost; then every value below is tried, one setting after the other, twice round. The best is
that by training/judge.py. REPORT receives choose.csv (F1 of each value: as judged, over the images
of ``val``, over sources, and of the images of ``val`` by modality), choose.png (the same as curves,
and the calibration) and calibration.csv. With --write the best values go into
weights/settings.json.
"""

import csv
import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from app.files.atomic import atomic_write
from app.files.open import read_image
from app.nms import nms
from app.paste import paste, relabel
from app.predict import Predictor
from app.processor import available_threads
from app.segment import crop, round_boxes, uncrop
from app.settings import FILE_NAME, Method
from training.command import command_parser, user_errors
from training.errors import InputError
from training.judge import SPLITS, Scored, group_means, judge
from training.layout import LABELS, image_path, label_path, read_split
from training.look import find
from training.metric import read_labels, score_image

VALUES: dict[str, tuple[float, ...]] = {
    "score_threshold": (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65),
    "nms_iou": (0.3, 0.4, 0.5, 0.6, 0.7),
    "mask_threshold": (0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7),
    "min_area": (1, 4, 8, 16, 32),
    "min_visible": (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
}
ROUNDS = 2
BINS = 10  # of the calibration
_MIN_SCORE, _MAX_IOU = 0.2, 0.8  # below and above all that is tried
# A new value must gain more than this, so that what is in the settings isn't left for noise.
_MIN_GAIN = 0.0005


@dataclass(frozen=True)
class Candidates:
    """What both networks say of an image.

    truth: (H, W) true label image.
    boxes: (N, 4) whole pixels, best first; exact: the same as float32; scores: (N,).
    probabilities: (N, S, S) uint8, 255 is certain.
    """

    split: str
    source: str
    modality: str
    truth: NDArray[np.uint32]
    boxes: NDArray[np.int64]
    exact: NDArray[np.float32]
    scores: NDArray[np.float32]
    probabilities: NDArray[np.uint8]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = command_parser(__doc__)
    for name in ("weights", "data", "report"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--write", action="store_true", help="change the settings")
    options = parser.parse_args(arguments)
    with user_errors(parser):
        predictor = Predictor(options.weights, "auto", available_threads())
        rows = read_split(options.data, *SPLITS)
        options.report.mkdir(parents=True, exist_ok=True)
        shown = tqdm(rows, unit="image", disable=None)
        images = [candidates(options.data, row, predictor) for row in shown]
        method = predictor.method
        chosen, tried = choose(images, method)
        bins = calibration(images, chosen)
        if not bins:
            raise InputError(f"{options.weights}: find no cell in these images; train further")
        write_table(options.report / "choose.csv", tried)
        write_table(options.report / "calibration.csv", bins)
        plot(tried, chosen, bins, options.report / "choose.png")
        for name in VALUES:
            print(f"{name}: {getattr(method, name)} -> {getattr(chosen, name)}")
        before, after = (mean_f1(images, m) for m in (method, chosen))
        for what, f1 in before.items():
            print(f"F1, {what}: {f1:.4f} -> {after[what]:.4f}")
        if options.write:
            settings = json.loads((options.weights / FILE_NAME).read_text())
            settings["method"] |= {name: getattr(chosen, name) for name in VALUES}
            with atomic_write(options.weights / FILE_NAME) as part:
                part.write_text(json.dumps(settings, indent=2) + "\n")
    return 0


def candidates(data: Path, row: dict[str, str], predictor: Predictor) -> Candidates:
    """All boxes and masks of an image that any of the values could keep.

    Args:
        data: a data set in the challenge's layout.
        row: of its metadata.
        predictor: of the weights whose settings are chosen.

    Raises:
        ImageError, InputError: the image or its label can't be used.
    """
    method = dataclasses.replace(predictor.method, score_threshold=_MIN_SCORE, nms_iou=_MAX_IOU)
    raw = np.atleast_3d(read_image(image_path(data, row)))
    image, exact, scores = find(raw, predictor, method)
    boxes = round_boxes(exact, (raw.shape[0], raw.shape[1]), method.crop_margin)
    size, parts = method.crop_size, [np.zeros((0, method.crop_size, method.crop_size), np.uint8)]
    together = predictor.resources.crop_batch
    for start in range(0, len(boxes), together):
        batch = [crop(image, box, size) for box in boxes[start : start + together]]
        (found,) = predictor.segmenter(np.stack(batch))
        parts.append(np.rint(255 * found).astype(np.uint8))
    truth = read_labels(label_path(data / LABELS, row["name"]), raw.shape[:2])
    return Candidates(
        row["split"],
        row["source"],
        row["modality"],
        truth,
        boxes,
        exact,
        scores,
        np.concatenate(parts),
    )


def choose(images: list[Candidates], method: Method) -> tuple[Method, list[dict[str, Any]]]:
    """The best value of each setting in turn, and all that was tried: a row for each."""
    tried: list[dict[str, Any]] = []
    best = mean_f1(images, method)["judged"]
    for number in range(ROUNDS):
        for name, values in VALUES.items():
            for value in tqdm(values, desc=name, leave=False):
                other = dataclasses.replace(method, **{name: value})
                tried.append(
                    {"round": number, "setting": name, "value": value, **mean_f1(images, other)}
                )
            top = max(tried[-len(values) :], key=lambda row: row["judged"])
            if top["judged"] > best + _MIN_GAIN:
                best = top["judged"]
                method = dataclasses.replace(method, **{name: top["value"]})
    return method, tried


def outline(image: Candidates, method: Method) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The label image (H, W) that settings make of candidates, and the candidate of each id."""
    good = np.flatnonzero(image.scores > method.score_threshold)
    good = good[nms(image.exact[good], image.scores[good], method.nms_iou)]
    boxes = image.boxes[good]
    masks = [
        uncrop(image.probabilities[n].astype(np.float32) / 255, (y1 - y0, x1 - x0))
        > method.mask_threshold
        for n, (x0, y0, x1, y1) in zip(good, boxes, strict=True)
    ]
    label = paste(masks, boxes, np.arange(1, len(good) + 1), (0, 0, *image.truth.shape))
    areas = np.bincount(label.ravel(), minlength=len(good) + 1)
    whole = np.array([0, *(np.count_nonzero(mask) for mask in masks)])
    numbers = relabel(areas, whole, method.min_area, method.min_visible)
    return numbers[label].astype(np.uint32), good[np.flatnonzero(numbers[1:])]


def mean_f1(images: list[Candidates], method: Method) -> dict[str, float]:
    """Mean F1 at IoU 0.5 as ``judge`` has it, and over the images of ``val`` of each modality."""
    rows = []
    for image in images:
        label, _ = outline(image, method)
        f1 = score_image(image.truth, label)[0].f1
        rows.append(Scored(image.split, image.source, image.modality, f1))
    val = ((row.modality, row.f1) for row in rows if row.split == "val")
    return {**judge(rows), **group_means(val)}


def calibration(images: list[Candidates], method: Method) -> list[dict[str, Any]]:
    """How often instances of about the same score are right, at IoU 0.5; instances of all images.

    Returns:
        For each bin of scores that has any: its lower end, instances, mean score, share right.
    """
    scores, right = [], []
    for image in images:
        label, which = outline(image, method)
        scores.append(image.scores[which])
        right.append(best_iou(image.truth, label) >= 0.5)
    score, correct = np.concatenate(scores), np.concatenate(right)
    bins = np.minimum((score * BINS).astype(np.int64), BINS - 1)
    return [
        {
            "from": n / BINS,
            "instances": int((bins == n).sum()),
            "score": float(score[bins == n].mean()),
            "right": float(correct[bins == n].mean()),
        }
        for n in np.unique(bins)
    ]


def best_iou(truth: NDArray[np.uint32], label: NDArray[np.uint32]) -> NDArray[np.float64]:
    """For each id 1 to N of a label image, its IoU with the true instance that it overlaps most."""
    areas, true_areas = (np.bincount(part.ravel()) for part in (label, truth))
    iou = np.zeros(len(areas))
    both = (truth > 0) & (label > 0)
    pairs = label[both].astype(np.int64) * len(true_areas) + truth[both]
    pairs, overlap = np.unique(pairs, return_counts=True)
    found, true = np.divmod(pairs, len(true_areas))
    np.maximum.at(iou, found, overlap / (areas[found] + true_areas[true] - overlap))
    return iou[1:]


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows with the same keys as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def plot(
    tried: list[dict[str, Any]], chosen: Method, bins: list[dict[str, Any]], path: Path
) -> None:
    """F1 over the values of each setting in the last round, and the calibration, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * (len(VALUES) + 1), 3), layout="constrained")
    *panels, last = figure.subplots(1, len(VALUES) + 1)
    for axes, name in zip(panels, VALUES, strict=True):
        rows = [row for row in tried if row["setting"] == name and row["round"] == ROUNDS - 1]
        groups = [key for key in rows[0] if key not in ("round", "setting", "value")]
        for group in groups:
            values = [row["value"] for row in rows]
            axes.plot(values, [row[group] for row in rows], marker=".", label=group)
        axes.axvline(getattr(chosen, name), color="grey", linewidth=1)
        axes.set(xlabel=name, ylabel="mean F1")
    panels[0].legend(fontsize="small")
    last.plot([0, 1], [0, 1], color="grey", linewidth=1)
    last.plot([b["score"] for b in bins], [b["right"] for b in bins], marker="o")
    last.set(xlabel="score", ylabel="share of instances with IoU of 0.5 or more")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    sys.exit(main())
