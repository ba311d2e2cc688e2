"""The challenge's time measurement, rehearsed, beside the times that the paper gives.

    python -m benchmarks.rehearse [--megapixels 2 9 30 88] [--image TAG] [--out runs/rehearse]

The organisers (baseline/cellseg_time_eval.py of JunMa11/NeurIPS-CellSeg) start the program once for
each image, one at a time, and its start counts. The same is done here with ``sh predict.sh``, or
with their docker command where --image names an image that Docker has (--gpus gives it GPUs). The
images are the samples, images without a cell, and samples repeated up to each of the sizes, densely
(about 860 cells a megapixel) and sparsely (190). --out receives the organisers' table as a CSV
file.

The paper's equation, seconds = a megapixels + b instances + c, is fitted to the times: the sum of
the squared relative errors is least, with a, b and c not negative. Only images with cells count,
for in images of noise no cell is looked for.
"""

import argparse
import csv
import math
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from scipy.optimize import nnls

from app.files.labels import output_path
from app.files.open import find_images
from benchmarks.memory import DENSE, ROOT, SIZES, SPARSE, make_image

PAPER = {"a megapixel": 2.48, "an instance": 0.0037, "a start": 6.97}  # seconds, RTX 3060
COLUMNS = ("Img Name", "Real Running Time", "Rank Running Time")  # the organisers' own
REPEATS = 3  # of images up to a megapixel, of which the median counts
TOLERANCE = 10  # seconds for an image of up to a megapixel, and for each megapixel above
ORGANISERS = ("docker", "container", "run", "-m", "28g", "--rm")


@dataclass(frozen=True)
class Run:
    """One image, segmented."""

    name: str
    megapixels: float
    instances: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megapixels", type=int, nargs="+", default=[2, 9, 30, 88])
    parser.add_argument("--image", metavar="TAG", help="time this Docker image")
    parser.add_argument("--gpus", metavar="GPUS", help="for docker run, such as device=0")
    parser.add_argument("--out", type=Path, default=Path("runs/rehearse"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    runs = []
    print("| image | megapixels | instances | seconds | paper's | ratio |\n" + "| --- " * 6 + "|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        for image in make_images(folder / "images", options.megapixels):
            run = time_image(image, folder, options.image, options.gpus)
            runs.append(run)
            paper = predicted(run, list(PAPER.values()))
            print(
                f"| {run.name} | {run.megapixels:.2f} | {run.instances:,} | {run.seconds:.2f} "
                f"| {paper:.1f} | {paper / run.seconds:.1f} |",
                flush=True,
            )
    write_times(options.out / "running_time.csv", runs)
    print("\n| seconds | here | paper | ratio |\n| --- | --- | --- | --- |")
    runs = [run for run in runs if run.instances]
    ours = fit(runs)
    for (what, paper), here in zip(PAPER.items(), ours, strict=True):
        ratio = f"{paper / here:.1f}" if here else "-"
        print(f"| {what} | {here:.5f} | {paper} | {ratio} |")
    errors = [abs(predicted(run, ours) / run.seconds - 1) for run in runs]
    print(
        f"\nThe fit is off by {statistics.median(errors):.0%} (median), {max(errors):.0%} (most)."
    )


def make_images(folder: Path, megapixels: list[int]) -> list[Path]:
    """The samples, images without a cell, and samples repeated to sizes; smallest first."""
    folder.mkdir()
    for sample in find_images(ROOT / "samples" / "images"):
        shutil.copy(sample, folder)
    for side in (512, 2048):
        noise = np.random.default_rng(1).normal(100, 2, (side, side)).astype(np.uint8)
        tifffile.imwrite(folder / f"empty_{side}.tiff", noise)
    for size in megapixels:
        side = round(math.sqrt(size * 1e6))
        for kind, repeated in (("dense", DENSE), ("sparse", SPARSE)):
            make_image(folder / f"{kind}_{size}.tiff", SIZES.get(size, (side, side)), *repeated)
    return sorted(find_images(folder), key=lambda path: path.stat().st_size)


def time_image(image: Path, folder: Path, tag: str | None, gpus: str | None) -> Run:
    """Run the entry point on a folder that holds just this image, and see what came of it.

    Args:
        image: to segment.
        folder: private, for the input and the output.
        tag: Docker image; None for predict.sh of this checkout.
        gpus: that docker gives to the container; None for none.
    """
    inputs, outputs = folder / "inputs", folder / "outputs"
    seconds: list[float] = []
    while len(seconds) < REPEATS:
        for place in (inputs, outputs):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            place.chmod(0o777)  # for the user of a container
        (inputs / image.name).hardlink_to(image)
        command = ["sh", str(ROOT / "predict.sh"), str(inputs), str(outputs)]
        if tag:
            command = [*ORGANISERS, *(["--gpus", gpus] if gpus else [])]
            command += ["-v", f"{inputs}:/workspace/inputs/"]
            command += ["-v", f"{outputs}:/workspace/outputs/"]
            command += [tag, "/bin/bash", "-c", "sh predict.sh"]
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds.append(time.monotonic() - started)
        if done.returncode:
            raise SystemExit(f"error: {image.name}: {done.stderr}")
        label = tifffile.imread(output_path(image, outputs))
        if label.size > 1e6:
            break
    median = statistics.median(seconds)
    return Run(image.name, label.size / 1e6, int(label.max()), median)


def fit(runs: list[Run]) -> list[float]:
    """Seconds a megapixel, an instance and a start, none negative, by least relative squares."""
    terms = np.array([[run.megapixels, run.instances, 1.0] for run in runs])
    seconds = np.array([run.seconds for run in runs])
    scale = terms.max(0)  # of very unlike sizes
    found: list[float] = (
        nnls(terms / scale / seconds[:, None], np.ones(len(runs)))[0] / scale
    ).tolist()
    return found


def predicted(run: Run, terms: list[float]) -> float:
    """Seconds that the equation says."""
    return float(np.dot(terms, [run.megapixels, run.instances, 1.0]))


def write_times(path: Path, runs: list[Run]) -> None:
    """The organisers' table: the real time, and that which counts beyond their tolerance."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for run in runs:
            counted = max(0.0, run.seconds - TOLERANCE * max(1.0, run.megapixels))
            writer.writerow((run.name, round(run.seconds, 2), round(counted, 2)))


if __name__ == "__main__":
    main()
