"""What cutting an image into windows costs, on large montages of real images with labels.

    python -m benchmarks.seams DATA [--montages 6] [--seed 0]

DATA is a folder in the challenge's layout. Montages of 2600 x 3000 pixels are joined from pieces of
its validation images, of one modality or mixed. Each piece is normalised, enlarged as prediction
would do it, and cut at random, so that cells lie anywhere on the windows' edges. Each montage is
segmented with the shipped weights three times: as one window ("whole"), in the shipped windows, and
in windows of half the size, which have more edges.

First table, a row for each montage, and one for the instances of all together:

- F1 against the labels, and its difference from that of the whole montage, which should stay within
  0.005 for the shipped windows;
- F1 of the instances against those of the whole montage;
- for comparison, the last column: the same of the whole montage moved by 8 pixels, since what the
  detector finds also depends on where an image begins.

Second table: how many instances have a straight side at an inner window edge. Their outermost row
or column lies within a pixel of the edge, and has an unbroken run of at least 4 pixels and more
than half of the instance's length. Some cells look so by chance, so the same is counted at lines
where no window ended: in the whole montage at the same lines, and in the cut one at lines moved
aside. Only what the first column has above both others comes from windows. "At lines" are the
instances that touch or cross a line.
"""

import argparse
import dataclasses
import logging
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from app import predict
from app.detect import detect
from app.files.open import read_image
from app.normalise import normalise
from app.paste import relabel
from app.predict import Predictor
from app.processor import available_threads
from app.settings import WEIGHTS, Method
from app.tile import magnify, scale_factor, windows
from training.layout import read_split
from training.metric import Score, score_image
from training.report.markdown import head, line

SHAPE = (2600, 3000)
SMALL = (768, 512)  # window and stride
PIECE = (240, 640)  # sides of the montages' pieces, pixels
KINDS = ("Fluo", "BF", "mixed", "DIC", "PC", "mixed")
MIN_RUN = 4  # pixels of a straight side
NEAR = 1  # pixels from a side to the line that it lies on
ASIDE = (-61, -29, 29, 61)  # pixels by which control lines are moved
MOVED = 8  # pixels; no multiple of the detector's granularity


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--montages", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.getLogger("app").setLevel(logging.ERROR)
    predictor = Predictor(WEIGHTS, "auto", available_threads())
    shipped = predictor.method
    sizes = {f"{w}/{s}": (w, s) for w, s in ((shipped.window, shipped.stride), SMALL)}
    methods: dict[str, Method] = {
        name: dataclasses.replace(shipped, window=w, stride=s, max_magnification=1.0)
        for name, (w, s) in {"whole": (2 * max(SHAPE), max(SHAPE)), **sizes}.items()
    }
    tiled = list(sizes)
    titles = ["montage", "labels", *methods, *(f"{name}: difference" for name in tiled)]
    print(head([*titles, *(f"{name} against whole" for name in [*tiled, "moved"])]))

    scores = defaultdict(list)
    sides = {name: np.zeros((3, 3), np.int64) for name in tiled}
    for number in range(options.montages):
        kind, rng = KINDS[number % len(KINDS)], np.random.default_rng([options.seed, number])
        image, truth = make_montage(options.data, kind, shipped, rng)
        found = {name: outline(image, predictor, method) for name, method in methods.items()}
        here = {name: score_image(truth, label)[0] for name, label in found.items()}
        found["moved"] = outline(image, predictor, methods["whole"], MOVED)
        for name in [*tiled, "moved"]:
            here[f"{name} against whole"] = score_image(found["whole"], found[name])[0]
        for name in tiled:
            sides[name] += count_sides(found["whole"], found[name], methods[name])
        print(score_row(f"{number + 1} {kind}", here, tiled), flush=True)
        for name, score in here.items():
            scores[name].append(dataclasses.astuple(score))
    total = {name: Score(*np.sum(counts, 0).tolist()) for name, counts in scores.items()}
    print(score_row("all", total, tiled))

    print("\n" + head(["windows", "straight sides", "whole, same lines", "control lines"]))
    for name in tiled:
        text = "{2} = {3:.2%} of {0:,}; {4:.1%} of {1:,} at lines"
        counts = [(n, near, k, k / n, k / near) for n, near, k in sides[name].tolist()]
        print(line([name, *(text.format(*c) for c in counts)]))


def make_montage(
    data: Path, kind: str, method: Method, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """Rows of pieces of random images: (H, W, 3) uint8 normalised, (H, W) labels."""
    rows = [r for r in read_split(data, "val") if kind in ("mixed", r["modality"])]
    image, label = np.zeros((*SHAPE, 3), np.uint8), np.zeros(SHAPE, np.uint32)
    top = 0
    while top < SHAPE[0]:
        height, left = int(rng.integers(*PIECE)), 0
        while left < SHAPE[1]:
            pixels, ids = read_enlarged(data, rows[rng.integers(len(rows))], method)
            h = min(height, ids.shape[0], SHAPE[0] - top)
            w = min(int(rng.integers(*PIECE)), ids.shape[1], SHAPE[1] - left)
            y, x = rng.integers(0, (ids.shape[0] - h + 1, ids.shape[1] - w + 1))
            image[top : top + h, left : left + w] = pixels[y : y + h, x : x + w]
            new = ids[y : y + h, x : x + w].astype(np.uint32)
            label[top : top + h, left : left + w] = np.where(new > 0, new + label.max(), 0)
            left += w
        top += height
    # Of some cells the cut leaves a few pixels, which prediction would drop.
    areas = np.bincount(label.ravel())
    return image, relabel(areas, areas, method.min_area, 0.0)[label].astype(np.uint32)


def read_enlarged(
    data: Path, row: dict[str, str], method: Method
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """An image and its labels as large as the detector would see them."""
    folder = data / "Train_Labeled"
    raw = read_image(folder / "images" / row["image"])
    label = tifffile.imread(folder / "labels" / f"{row['name']}_label.tiff").astype(np.uint16)
    image = normalise(raw, method.low_percentile, method.high_percentile)
    image = magnify(image, scale_factor(image.shape, method))
    larger = cv2.resize(label, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return image, np.asarray(larger, np.uint16)


def outline(
    image: NDArray[np.uint8], predictor: Predictor, method: Method, moved: int = 0
) -> NDArray[np.uint32]:
    """``app.predict.predict`` without normalising, of an image moved down and to the right."""
    image = np.pad(image, ((moved, 0), (moved, 0), (0, 0)), constant_values=method.pad_value)
    boxes, _ = detect(image, predictor.detector, method)
    labels = predict.outline(image, boxes, predictor.segmenter, method).labels
    return labels[moved:, moved:].astype(np.uint32)


def count_sides(
    whole: NDArray[np.uint32], tiled: NDArray[np.uint32], method: Method
) -> NDArray[np.int64]:
    """``straight_sides`` of tiled and of whole at the windows' inner edges; at control lines."""
    places = windows(SHAPE, method)
    lines = [np.unique(places[:, [axis, axis + 2]]) for axis in (1, 0)]
    lines = [line[(line > 0) & (line < end)] for line, end in zip(lines, SHAPE, strict=True)]
    moved = [straight_sides(tiled, [line + aside for line in lines]) for aside in ASIDE]
    return np.array([straight_sides(tiled, lines), straight_sides(whole, lines), np.sum(moved, 0)])


def straight_sides(label: NDArray[np.uint32], lines: list[NDArray[np.int64]]) -> list[int]:
    """How many instances there are, touch or cross a line, and have a straight side on one."""
    boxes = find_objects(label.astype(np.int32))  # ids have no gaps
    near = straight = 0
    for number, box in enumerate(boxes, 1):
        ends = [(axis, box[axis].start, box[axis].stop) for axis in (0, 1)]
        reach = [(lines[k] >= a - NEAR) & (lines[k] <= b + NEAR) for k, a, b in ends]
        near += any(r.any() for r in reach)
        mask = label[box] == number
        straight += any(
            (np.abs(lines[axis] - end) <= NEAR).any() and is_straight(mask.take(side, axis))
            for axis, start, stop in ends
            for side, end in ((0, start), (-1, stop))
        )
    return [len(boxes), near, straight]


def is_straight(side: NDArray[np.bool_]) -> bool:
    """Whether one run of the outermost row or column is long enough."""
    steps = np.flatnonzero(np.diff(np.concatenate(([False], side, [False]))))
    run = int((steps[1::2] - steps[::2]).max())
    return run >= MIN_RUN and run > len(side) / 2


def score_row(name: str, scores: dict[str, Score], tiled: list[str]) -> str:
    whole = scores["whole"]
    cells = [name, f"{whole.true:,}", *(f"{scores[size].f1:.4f}" for size in ["whole", *tiled])]
    cells += [f"{scores[size].f1 - whole.f1:+.4f}" for size in tiled]
    return line(cells + [f"{scores[f'{size} against whole'].f1:.4f}" for size in [*tiled, "moved"]])


if __name__ == "__main__":
    main()
