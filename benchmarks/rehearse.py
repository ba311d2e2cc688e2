"""The challenge's time measurement, rehearsed, beside the times that the paper gives.

    python -m benchmarks.rehearse [--device cuda] [--repeats 5] [--megapixels 2 9 30 88]
    python -m benchmarks.rehearse --image TAG --gpus all [--device cuda] [--repeats 5]

Needs what ``make test`` installs, and for --device cuda what docs/python.md says of a GPU.

First, what the graphs find on the samples is compared with what graphs of floats find on the CPU
(benchmarks/parity.py), each graph is timed by itself, and the memory that they take is told.

Then the time is taken. The organisers (baseline/cellseg_time_eval.py of JunMa11/NeurIPS-CellSeg)
start the program once for each image, one at a time, and its start counts. The same is done here
with ``sh predict.sh``, its modules compiled as they are in the image, or with their docker command
where --image names an image that Docker has (--gpus gives it GPUs). The images are the samples,
images without a cell, and samples repeated up to each of the sizes, densely (about 860 cells a
megapixel) and sparsely (190).

The paper's equation, seconds = a megapixels + b instances + c, is fitted to the times: the sum of
the squared relative errors is least, with a, b and c not negative. Only images with cells count,
for in images of noise no cell is looked for. With --repeats all is timed as often, and the median
counts, of each term too: a fit shares the time of one run between the first two by chance.

--out receives the tables (rehearsal.md, ready for docs/speed.md), all figures (rehearsal.json), and
the organisers' table (running_time.csv). Exit status: 1 where a GPU finds something else than the
CPU, 2 where the device can't be used.
"""

import argparse
import compileall
import csv
import dataclasses
import json
import math
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from scipy.optimize import nnls
from tqdm import tqdm

from app.files.labels import output_path
from app.files.open import find_images
from benchmarks.memory import DENSE, ROOT, SIZES, SPARSE, make_image
from benchmarks.on_device import Report
from benchmarks.parity import (
    Compared,
    DeviceUnusableError,
    compare_samples,
    differences,
    run_on_device,
)
from training.report.markdown import head, line

PAPER = {"to start": 6.97, "a megapixel": 2.48, "a cell": 0.0037}  # seconds, RTX 3060
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


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--megapixels", type=int, nargs="+", default=[2, 9, 30, 88])
    parser.add_argument("--image", metavar="TAG", help="time this Docker image")
    parser.add_argument("--gpus", metavar="GPUS", help="for docker run, such as device=0")
    parser.add_argument("--out", type=Path, default=Path("runs/rehearse"))
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error("--repeats: a whole number from 1 on was wanted")
    options.out.mkdir(parents=True, exist_ok=True)
    where = options.image, options.gpus
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        try:
            report = run_on_device(options.device, "auto", folder / "found", *where)
            run_on_device("cpu", "float", folder / "of_floats", *where)
        except DeviceUnusableError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        samples = compare_samples(folder / "found", folder / "of_floats")
        images = make_images(folder / "images", options.megapixels)
        if not options.image:
            compileall.compile_dir(ROOT / "app", quiet=1)
        repeats = [
            [
                time_image(image, folder, options.device, *where)
                for image in tqdm(images, desc=f"run {n + 1} of {options.repeats}", leave=False)
            ]
            for n in range(options.repeats)
        ]
    runs = median_runs(repeats)
    fits = [fit([run for run in repeat if run.instances]) for repeat in repeats]
    terms = np.median(fits, 0).tolist()
    wrong = differences(samples) if report.on_gpu else []
    text = describe(report, samples, wrong, runs, terms, len(repeats))
    print(text)
    (options.out / "rehearsal.md").write_text(text + "\n")
    figures = {
        "device": dataclasses.asdict(report),
        "samples": [dataclasses.asdict(sample) for sample in samples],
        "differences": wrong,
        "images": [[dataclasses.asdict(run) for run in repeat] for repeat in repeats],
        "terms": dict(zip(PAPER, terms, strict=True)),
        "terms_of_each_run": fits,
    }
    (options.out / "rehearsal.json").write_text(json.dumps(figures, indent=2) + "\n")
    write_times(options.out / "running_time.csv", runs)
    for problem in wrong:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if wrong else 0


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


def time_image(
    image: Path, folder: Path, device: str, tag: str | None = None, gpus: str | None = None
) -> Run:
    """Run the entry point on a folder that holds just this image, and see what came of it.

    Args:
        image: to segment.
        folder: private, for the input and the output.
        device: as for the predictor.
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
        chosen = [] if device == "auto" else ["--device", device]
        command = ["sh", str(ROOT / "predict.sh"), str(inputs), str(outputs), *chosen]
        if tag:
            command = [*ORGANISERS, *(["--gpus", gpus] if gpus else [])]
            command += ["-v", f"{inputs}:/workspace/inputs/"]
            command += ["-v", f"{outputs}:/workspace/outputs/"]
            command += [tag, "/bin/bash", "-c", shlex.join(["sh", "predict.sh", *chosen])]
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


def median_runs(repeats: list[list[Run]]) -> list[Run]:
    """Each image with the median of its times."""
    return [
        dataclasses.replace(runs[0], seconds=statistics.median(run.seconds for run in runs))
        for runs in zip(*repeats, strict=True)
    ]


def fit(runs: list[Run]) -> list[float]:
    """Seconds of a start, a megapixel and an instance, none negative, by least relative squares."""
    terms = np.array([[1.0, run.megapixels, run.instances] for run in runs])
    seconds = np.array([run.seconds for run in runs])
    scale = terms.max(0)  # of very unlike sizes
    found: list[float] = (
        nnls(terms / scale / seconds[:, None], np.ones(len(runs)))[0] / scale
    ).tolist()
    return found


def predicted(run: Run, terms: list[float]) -> float:
    """Seconds that the equation says."""
    return float(np.dot(terms, [1.0, run.megapixels, run.instances]))


def describe(
    report: Report,
    samples: list[Compared],
    wrong: list[str],
    runs: list[Run],
    terms: list[float],
    repeats: int,
) -> str:
    """All tables, in Markdown.

    Args:
        report: of the device, as is ``samples``.
        wrong: as ``differences`` tells.
        runs: each image.
        terms: as ``fit`` finds them.
        repeats: of which all times are medians.
    """
    card = f"{report.card}, {report.processor}" if report.card else report.processor
    lines = [
        f"{card}; ONNX Runtime {report.runtime}, {report.provider} ({', '.join(report.graphs)}); "
        f"medians of {repeats}.",
        *table(["", "seconds here", "the paper's system, on an RTX 3060", "times less"]),
    ]
    for (what, paper), here in zip(PAPER.items(), terms, strict=True):
        lines.append(line([what, f"{here:.5f}", paper, f"{paper / here:.1f}" if here else "-"]))
    with_cells = [run for run in runs if run.instances]
    errors = [abs(predicted(run, terms) / run.seconds - 1) for run in with_cells]
    lines += [
        "",
        f"The fit is off by {statistics.median(errors):.0%} (median), {max(errors):.0%} (most).",
        *table(["graph", "seconds"]),
        line(
            [f"detector, {report.window} x {report.window} pixels", f"{report.window_seconds:.4f}"]
        ),
        line([f"segmenter, {report.crops} crops", f"{report.crops_seconds:.4f}"]),
        "",
        f"{'GPU memory' if report.on_gpu else 'Memory'}, at most: {report.memory / 1e9:.2f} GB.",
        *table(["sample", "boxes", "single", "pixels apart", "F1", "F1 of floats on the CPU"]),
    ]
    for one in samples:
        f1 = f"{one.f1:.4f}", f"{one.f1_of_floats:.4f}"
        lines.append(line([one.name, one.boxes, one.single, f"{one.distance:.2f}", *f1]))
    if report.on_gpu:
        lines += ["", "It differs: " + "; ".join(wrong) if wrong else "The GPU finds the same."]
    lines += table(["image", "megapixels", "instances", "seconds", "paper's", "ratio"])
    for run in runs:
        paper = predicted(run, list(PAPER.values()))
        times = f"{run.seconds:.2f}", f"{paper:.1f}", f"{paper / run.seconds:.1f}"
        lines.append(line([run.name, f"{run.megapixels:.2f}", f"{run.instances:,}", *times]))
    return "\n".join(lines)


def table(titles: list[str]) -> list[str]:
    """The first lines of a table, below an empty one."""
    return ["", head(titles)]


def write_times(path: Path, runs: list[Run]) -> None:
    """The organisers' table: the real time, and that which counts beyond their tolerance."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for run in runs:
            counted = max(0.0, run.seconds - TOLERANCE * max(1.0, run.megapixels))
            writer.writerow((run.name, round(run.seconds, 2), round(counted, 2)))


if __name__ == "__main__":
    sys.exit(main())
