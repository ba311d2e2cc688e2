"""How much to enlarge small images before detection: rules compared by F1 and seconds on ``val``.

    python -m benchmarks.magnification DATA [--weights weights]

- up to N times: an image smaller than a window is enlarged up to the window, but by no more than N;
  1 is not at all, and "to a window" the paper's own rule;
- by cell size: up to 2 times; where the cells found so are larger (median of the square root of
  their boxes' areas, in pixels of the enlarged image) than M, again at the image's own size.

Seconds are of all images, read and normalised already; compare them within one run only.
"""

import argparse
import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from app.detect import detect
from app.machine import available_threads
from app.predict import Predictor, outline
from app.session import Run
from app.settings import Method
from app.tile import scale_factor
from training.data import Labelled, load_labelled
from training.evaluate import score_image

Boxes = NDArray[np.float32]
Rule = Callable[..., Boxes]

CAPS = (1.0, 1.25, 1.4, 1.5, 1.75, 2.0, np.inf)
SIZES = (48, 64, 96, 128)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    options = parser.parse_args()
    predictor = Predictor(options.weights, "auto", available_threads())
    method = predictor.settings
    images = load_labelled(options.data, "val", method)
    rules: dict[str, Rule] = {}
    for cap in CAPS:
        name = "to a window" if cap == np.inf else f"up to {cap}"
        rules[name] = partial(capped, cap=cap)
    for size in SIZES:
        rules[f"by cell size, {size}"] = partial(by_size, largest=size)
    print_heading(images)
    for name, rule in rules.items():
        find = partial(rule, run=predictor.detector, method=method)
        print_row(name, *score(images, find, predictor, name))


def score(
    images: list[Labelled],
    find: Callable[[NDArray[np.uint8]], Boxes],
    predictor: Predictor,
    what: str,
) -> tuple[dict[str, float], float, float]:
    """F1 of images, all and by modality, and seconds: of finding boxes, and of what follows.

    Args:
        images: of the split.
        find: an image to its boxes, best first.
        predictor: outlines them.
        what: for the progress bar.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    finding = outlining = 0.0
    for image in tqdm(images, desc=what, leave=False):
        started = time.monotonic()
        boxes = find(image.image)
        found = time.monotonic()
        label = outline(image.image, boxes, predictor.segmenter, predictor.settings)[:, :]
        outlining += time.monotonic() - found
        finding += found - started
        scores[image.modality].append(score_image(image.label, label)[0].f1)
    everything = [f1 for values in scores.values() for f1 in values]
    means = {key: float(np.mean(values)) for key, values in sorted(scores.items())}
    return {"all": float(np.mean(everything)), **means}, finding, outlining


def print_heading(images: list[Labelled]) -> None:
    modalities = sorted({image.modality for image in images})
    heading = ["", "F1", *modalities, "detecting, s", "outlining, s"]
    print("| " + " | ".join(heading) + " |\n" + "| --- " * len(heading) + "|")


def print_row(name: str, means: dict[str, float], finding: float, outlining: float) -> None:
    cells = [*(f"{mean:.3f}" for mean in means.values()), f"{finding:.1f}", f"{outlining:.1f}"]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def capped(image: NDArray[np.uint8], run: Run, method: Method, cap: float) -> Boxes:
    """Boxes (N, 4) of an image that is enlarged up to a window, at most ``cap`` times."""
    return detect(image, run, dataclasses.replace(method, most_magnification=cap))[0]


def by_size(image: NDArray[np.uint8], run: Run, method: Method, largest: float) -> Boxes:
    """Boxes (N, 4) at up to twice the size; at the image's own if cells are larger there."""
    boxes = capped(image, run, method, 2.0)
    factor = scale_factor(image.shape, dataclasses.replace(method, most_magnification=2.0))
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1)) * factor
    if factor == 1.0 or (len(sides) and np.median(sides) <= largest):
        return boxes
    return capped(image, run, method, 1.0)


if __name__ == "__main__":
    main()
