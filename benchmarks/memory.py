"""Time and peak memory by the size of the image: memory must not grow with it.

    python -m benchmarks.memory [--megapixels 2 9 88 1600] [--keep FOLDER]

Each image is a sample repeated over a tiled TIFF, and is segmented by a process of its own. The one
of 88 megapixels stands for a slide of 8415 x 10496 pixels with many cells, that of 1600 megapixels
for one of 40000 x 40000 with fewer cells a pixel, which takes some 10 GB in the folder of temporary
files. --keep leaves images and outputs in FOLDER, and takes images that are there already.

"Peak" is the memory that run.json tells of the image; "process" is what the kernel counts for the
whole process, its start included (ru_maxrss). The larger of both is what ``working_memory`` in
settings.json has to cover; for an image that is no TIFF its decoded size comes on top. Seconds are
those of the stages, as run.json has them, and of the whole process.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from app.files.arrays import blocks
from app.files.atomic import atomic_write
from app.files.open import read_image
from app.normalise import normalise
from app.running.journal import RUN_FILE, Record
from training.report.markdown import head, line

ROOT = Path(__file__).parent.parent
SIZES = {88: (8415, 10496)}  # others are square
TILE = 512  # pixels along each side
SPARSE_FROM = 1000  # megapixels
# Sample and the scale at which it is repeated: about 860 and 190 cells a megapixel.
DENSE = ("dsb2018-5afb7932e9c7.png", 0.85)
SPARSE = ("dsb2018-ac8169a0debe.png", 1.0)
STAGES = ("read", "survey", "look", "detect", "segment", "write")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megapixels", type=int, nargs="+", default=[2, 9, 88, 1600])
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    titles = ["megapixels", "instances", *(f"{stage}, s" for stage in STAGES)]
    titles += ["process, s", "peak, GB", "process, GB"]
    print(head(titles))
    for size in options.megapixels:
        with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory() as name:
            folder = Path(name).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            image = folder / f"repeated{size}.tiff"
            if not image.exists():
                side = round(math.sqrt(size * 1e6))
                sample = DENSE if size < SPARSE_FROM else SPARSE
                make_image(image, SIZES.get(size, (side, side)), *sample)
            record, seconds, highest = segment(image, folder / f"outputs{size}")
        cells = [f"{record['height'] * record['width'] / 1e6:.1f}", f"{record['instances']:,}"]
        cells += [f"{record['seconds'][stage]:.1f}" for stage in STAGES]
        cells += [f"{seconds:.1f}", f"{record['peak_memory'] / 1e9:.2f}", f"{highest / 1e9:.2f}"]
        print(line(cells), flush=True)


def make_image(path: Path, shape: tuple[int, int], name: str, scale: float) -> None:
    """A sample, repeated, as a deflated TIFF; tile by tile, so that it takes little memory.

    Args:
        path: of the image.
        shape: (H, W) of the image.
        name: of the sample.
        scale: at which it is repeated.
    """
    height, width = shape
    sample = normalise(read_image(ROOT / "samples" / "images" / name), 0, 100)
    if scale != 1:
        small = cv2.resize(sample, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        sample = np.asarray(small, np.uint8)
    with atomic_write(path) as part:
        tifffile.imwrite(
            part,
            repeat(sample, (height, width)),
            bigtiff=True,
            shape=(height, width, 3),
            dtype=np.uint8,
            tile=(TILE, TILE),
            photometric="rgb",
            compression="zlib",
            compressionargs={"level": 1},
        )


def repeat(sample: NDArray[np.uint8], shape: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """The tiles of an image of some shape."""
    steps = np.arange(TILE)
    for y, x, _, _ in blocks(shape, TILE):
        rows, columns = (y + steps) % sample.shape[0], (x + steps) % sample.shape[1]
        yield sample[np.ix_(rows, columns)]


def segment(image: Path, output: Path) -> tuple[Record, float, int]:
    """The image's record of a fresh process, its seconds, and its peak memory in bytes."""
    command = [sys.executable, "-m", "app", str(image), str(output)]
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    (record,) = json.loads((output / RUN_FILE).read_text())["images"]
    if process.returncode:
        raise SystemExit(f"error: {record['error']}")
    return record, seconds, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
