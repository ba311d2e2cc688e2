"""Whether time grows with the number of cells, and no faster: suppression and pasting.

    python -m benchmarks.nms [--boxes 1000 10000 100000] [--runs 3]

Boxes lie at a constant density: the image grows with their number. "nms" gets a few overlapping
candidates a cell, as a detector gives them; "paste" draws one box a cell with a segmenter that
fills every crop, so it is all of the path but the network: cropping, sizing back, pasting, the
label image. Prints medians, in seconds. "growth" is the time of one box over that in the first
row: it stays near 1 where time is linear, and would reach 100 from 1,000 to 100,000 boxes where
all pairs were looked at. Small rows are fast for having all in the processor's cache, so up to
about 2 is no alarm.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.files.labels import open_canvas
from app.nms import nms
from app.paste import relabel
from app.predict import draw
from app.segment import round_boxes
from app.settings import WEIGHTS, Method, load_settings

SPACING = 30  # pixels from cell to cell
SMALLEST, LARGEST = 14, 34  # pixels along a side of a cell
CANDIDATES = 4  # of each cell
WOBBLE = 0.06  # of a candidate's sides, as a share of the cell's


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--boxes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    method = load_settings(WEIGHTS).method
    print("| boxes | nms, s | growth | cells left | paste, s | growth | megapixels |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    each: list[tuple[float, float]] = []  # seconds a box
    for count in options.boxes:
        suppress, left = time_nms(count, options.runs, method)
        pasting, size = time_paste(count, options.runs, method)
        each.append((suppress / count, pasting / count))
        growth = [now / first for now, first in zip(each[-1], each[0], strict=True)]
        print(
            f"| {count:,} | {suppress:.3f} | {growth[0]:.2f} | {left:,} "
            f"| {pasting:.3f} | {growth[1]:.2f} | {size:.1f} |",
            flush=True,
        )


def make_cells(count: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Cells on a loose grid: (N, 4) float32 xyxy boxes in random order, and the image's (H, W)."""
    across = math.ceil(math.sqrt(count))
    place = rng.permutation(across * across)[:count]
    grid = np.stack((place % across, place // across), 1)
    centres = (grid + rng.uniform(0.3, 0.7, (count, 2))) * SPACING
    half = rng.uniform(SMALLEST, LARGEST, (count, 2)) / 2
    side = across * SPACING
    boxes = np.clip(np.concatenate((centres - half, centres + half), 1), 0, side)
    return boxes.astype(np.float32), (side, side)


def time_nms(count: int, runs: int, method: Method) -> tuple[float, int]:
    """Seconds of suppression among ``count`` candidates, and how many stay."""
    rng = np.random.default_rng(0)
    cells, _ = make_cells(math.ceil(count / CANDIDATES), rng)
    boxes = np.repeat(cells, CANDIDATES, 0)[:count]
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    boxes = (boxes + rng.normal(0, WOBBLE, boxes.shape) * sides).astype(np.float32)
    scores = rng.uniform(method.score_threshold, 1, count).astype(np.float32)
    left = len(nms(boxes, scores, method.nms_iou))
    return median_seconds(lambda: nms(boxes, scores, method.nms_iou), runs), left


def time_paste(count: int, runs: int, method: Method) -> tuple[float, float]:
    """Seconds from ``count`` boxes to final ids, and the megapixels of the image."""
    rng = np.random.default_rng(0)
    cells, shape = make_cells(count, rng)
    boxes = round_boxes(cells, shape)
    image = np.full((*shape, 3), 128, np.uint8)

    def fill(crops: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return [np.ones(crops.shape[:3], np.float32)]

    def work() -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            open_canvas(shape, Path(folder) / "canvas") as canvas,
        ):
            areas, masks = draw(image, boxes, fill, method, 64, canvas)
            numbers = relabel(areas, masks, method.min_area, method.min_visible)
        assert areas[0] and numbers.max() > 0.9 * count

    return median_seconds(work, runs), math.prod(shape) / 1e6


def median_seconds(work: Callable[[], object], runs: int) -> float:
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
