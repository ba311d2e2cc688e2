"""What the files beside a label image cost: CPU seconds and peak memory, stage by stage.

    python -m benchmarks.results_cost [--copies 21 14]

The labels of a sample with 272 cells, and the sample as three channels of 16 bits, are repeated
--copies times down and across: 88 megapixels with 79,968 cells. Both lie in files, as those of
large images do. Peak is the highest memory of the process so far, which before the first stage
("start") is that of Python and the libraries.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from app.files.arrays import FileArray
from app.files.open import read_image
from app.normalise import Normalised
from app.results.cells import find_boxes
from app.results.geojson import Measurements, write_geojson
from app.results.measure import Columns, measure
from app.results.outlines import outlines
from app.results.overlay import write_overlay
from app.results.rois import write_rois
from app.results.table import write_table
from training.report.markdown import head

ROOT = Path(__file__).parent.parent
SAMPLE = "dsb2018-5afb7932e9c7"
SHAPE = 473, 633  # of a copy, pixels
CHANNELS = "DAPI", "FITC", "TRITC"
PIXEL_SIZE = 0.5, 0.5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--copies", type=int, nargs=2, default=[21, 14])
    options = parser.parse_args()
    print(head(["stage", "CPU s", "s", "peak, MB"]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with stage("start"):
            labels, image, count = repeat(folder, *options.copies)
        with stage("boxes"):
            boxes = find_boxes(labels, count)
        with stage("measure"):
            certain = np.ones(count, np.float32)
            columns = measure(labels, image, boxes, certain, certain, CHANNELS, PIXEL_SIZE)
        with stage("table"):
            write_table(folder / "cells.csv", [columns])
        with stage("GeoJSON and ROIs"):
            write_outlines(folder, labels, boxes, columns)
        with stage("overlay"):
            shown = Normalised(image, ((0.0, 40_000.0),) * len(CHANNELS))
            write_overlay(folder / "overlay.jpg", shown, labels, boxes, PIXEL_SIZE)
        files = ("cells.csv", "cells.geojson", "rois.zip", "overlay.jpg")
        sizes = ", ".join(f"{name} {(folder / name).stat().st_size / 1e6:.1f} MB" for name in files)
    height, width = labels.shape
    print(f"{height * width / 1e6:.1f} megapixels, {count:,} cells; {sizes}")


def write_outlines(
    folder: Path, labels: FileArray, boxes: NDArray[np.int64], columns: Columns
) -> None:
    """Both files of outlines, each cell traced once, as app/results/writer.py does it."""
    with (
        write_geojson(folder / "cells.geojson", "a") as features,
        write_rois(folder / "rois.zip") as rois,
    ):
        measurements = Measurements(columns)
        for cell, outline in outlines(labels, boxes):
            features.add(cell, outline, measurements)
            rois.add(cell, outline)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Print what the body of a ``with`` block costs."""
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| {name} | {cpu:.1f} | {wall:.1f} | {peak:.0f} |", flush=True)


def repeat(folder: Path, down: int, across: int) -> tuple[FileArray, FileArray, int]:
    """A sample's labels, each copy with its own, and its pixels, in files; how many cells.

    Returns:
        (H, W) uint32; (H, W, 3) uint16; N.
    """
    found = tifffile.imread(ROOT / "samples" / "labels" / f"{SAMPLE}_label.tiff")
    sample = read_image(ROOT / "samples" / "images" / f"{SAMPLE}.png")
    nearest = cv2.INTER_NEAREST
    copy = np.asarray(cv2.resize(found, SHAPE[::-1], interpolation=nearest)).astype(np.uint32)
    grey = np.asarray(cv2.resize(sample, SHAPE[::-1])).astype(np.uint16) * 257
    pixels = np.stack([grey // share for share in (1, 2, 5)], 2)
    cells = len(np.unique(copy)) - 1
    assert copy.max() == cells, "a cell was lost"
    height, width = SHAPE[0] * down, SHAPE[1] * across
    arrays = []
    for name, shape, dtype in (
        ("labels", (height, width), np.uint32),
        ("image", (height, width, len(CHANNELS)), np.uint16),
    ):
        path = folder / name
        np.memmap(path, dtype, "w+", shape=shape).flush()
        arrays.append(FileArray(path, np.dtype(dtype), shape))
    labels, image = arrays
    for number, (row, column) in enumerate(np.ndindex(down, across)):
        place = tuple(
            slice(step * n, step * (n + 1)) for step, n in zip(SHAPE, (row, column), strict=True)
        )
        labels[place] = np.where(copy > 0, copy + number * cells, 0)
        image[place] = pixels
    return labels, image, down * across * cells


if __name__ == "__main__":
    main()
