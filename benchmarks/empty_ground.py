"""What passing over empty ground costs and saves.

    python -m benchmarks.empty_ground DATA [--megapixels 88] [--glass 0.8] [--write SLIDE.tif]

First table: of all labelled cells of DATA (a folder in the challenge's layout, all splits), those
that would be passed over if each image were a window of a slide: their middle lies where nothing
differs by more than some shares of the range from black to white. Then those that would be cut:
they are not whole in a part that is looked at. ``min_content`` of the settings is the share that
prediction goes by.

Then a slide most of which is glass: a sample repeated over its middle, on ground with a little
noise and dust. It is segmented with and without passing over what is empty; told are the seconds
of both, their ratio, what was skipped, and F1 of the one result against the other. With --write the
slide is only written, as a TIFF in deflated tiles, to be segmented by several versions.
"""

import argparse
import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass, find_objects

from app.files.open import read_image
from app.ground import ground_of
from app.levels import CELL, survey
from app.look import Wanted, usual_look
from app.predict import Predictor
from app.processor import available_threads
from app.settings import WEIGHTS, Method
from benchmarks.memory import ROOT
from training.layout import read_split
from training.metric import score_image
from training.report.markdown import head

SHARES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
TISSUE = "dsb2018-a5fe0b7412dd.png"  # of the samples, stained by haematoxylin and eosin
LEVEL, NOISE = 235, 1.5  # grey level of the glass, and its deviation
DUST, SPECK = 0.5, 5  # specks a megapixel, and their sides in pixels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--megapixels", type=float, default=88)
    parser.add_argument("--glass", type=float, default=0.8)
    parser.add_argument("--write", type=Path, metavar="SLIDE.tif")
    options = parser.parse_args()
    if options.write:
        slide = make_slide(options.megapixels, options.glass)
        options.write.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(options.write, slide, tile=(512, 512), compression="zlib")
        return
    predictor = Predictor(WEIGHTS, "cpu", available_threads())
    print(head(["share", "of the ground is empty", "cells on it", "cut", "of"]))
    found = [content_of(*pair, predictor.method) for pair in labelled(options.data)]
    for share in SHARES:
        empty, lost, cut = map(np.concatenate, zip(*(of[share] for of in found), strict=True))
        counts = f"{lost.sum():,} | {cut.sum():,} | {len(lost):,}"
        print(f"| {share} | {empty.mean():.1%} | {counts} |", flush=True)

    image = make_slide(options.megapixels, options.glass)
    whole = dataclasses.replace(predictor.method, min_content=-1.0)  # nothing is empty
    labels, seconds = [], []
    for method in (whole, predictor.method):
        predictor.method = method
        started = time.monotonic()
        result = predictor.predict(image)
        seconds.append(time.monotonic() - started)
        labels.append(result.labels[:, :].astype(np.uint32))
    f1 = score_image(labels[0], labels[1])[0].f1
    print(
        f"\n{image.shape[0]} x {image.shape[1]} pixels, {options.glass:.0%} glass, "
        f"{labels[0].max():,} cells: {seconds[0]:.1f} s, skipping {result.choice.skipped:.0%} "
        f"{seconds[1]:.1f} s, ratio {seconds[1] / seconds[0]:.2f}; F1 of one by the other {f1:.4f}"
    )


def labelled(data: Path) -> Iterator[tuple[NDArray[np.generic], NDArray[np.int64]]]:
    """All images (H, W, C) with their labels (H, W)."""
    folder = data / "Train_Labeled"
    for row in read_split(data, "train", "val", "probe"):
        image = read_image(folder / "images" / row["image"])
        label = tifffile.imread(folder / "labels" / f"{row['name']}_label.tiff")
        yield image if image.ndim == 3 else image[:, :, None], label.astype(np.int64)


class Content(NamedTuple):
    """What is empty of an image.

    empty: (K,) bool, which cells of the map are.
    lost: (N,) bool, whether the middle of each labelled cell lies on one.
    cut: (N,) bool, whether it is not lost, but whole in no part.
    """

    empty: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    cut: NDArray[np.bool_]


def content_of(
    image: NDArray[np.generic], label: NDArray[np.int64], method: Method
) -> dict[float, Content]:
    """By share."""
    found = survey(image)
    look = usual_look(found, method, Wanted())
    numbers = np.unique(label[label > 0])
    middles = np.array(center_of_mass(label > 0, label, numbers)).reshape(-1, 2)
    y, x = (middles // CELL).astype(np.int64).T
    sides = [side for side in find_objects(label) if side]
    boxes = np.array([(x.start, y.start, x.stop, y.stop) for y, x in sides]).reshape(-1, 4)
    window = np.array([[0, 0, *label.shape[::-1]]])
    content = {}
    for share in SHARES:
        ground = ground_of(found, look, share)
        parts = ground.parts(window, (1.0, 1.0), method.granularity).places[:, None]
        whole = (parts[..., :2] <= boxes[:, :2]).all(2) & (boxes[:, 2:] <= parts[..., 2:]).all(2)
        lost = ~ground.full[y, x]
        content[share] = Content(~ground.full.ravel(), lost, ~lost & ~whole.any(0))
    return content


def make_slide(megapixels: float, glass: float) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: the sample repeated over the middle of a square of glass."""
    rng = np.random.default_rng(0)
    side = round(math.sqrt(megapixels * 1e6))
    tissue = round(side * math.sqrt(1 - glass))
    grey = np.rint(rng.normal(LEVEL, NOISE, (side, side))).clip(0, 255).astype(np.uint8)
    for y, x in rng.integers(0, side - SPECK, (round(DUST * megapixels), 2)):
        grey[y : y + SPECK, x : x + SPECK] = rng.integers(60, 200)
    slide = np.repeat(grey[:, :, None], 3, 2)
    sample = read_image(ROOT / "samples" / "images" / TISSUE)
    start, times = (side - tissue) // 2, [-(-tissue // length) for length in sample.shape[:2]]
    slide[start : start + tissue, start : start + tissue] = np.tile(sample, (*times, 1))[
        :tissue, :tissue
    ]
    return slide


if __name__ == "__main__":
    main()
