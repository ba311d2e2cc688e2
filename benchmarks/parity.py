"""Whether the graphs find on one device what graphs of floats find on the CPU: on the samples.

A part of ``python -m benchmarks.rehearse``. Boxes of the two devices are pairs where they overlap
by at least half, each taken once. Of a GPU, which runs the detector's very graph that a CPU without
VNNI does, pairs have to be within half a pixel, all but a hundredth of the boxes in pairs (one just
at a threshold may be found on one side alone), and the mean F1 by the samples' labels the same
within 0.003. Graphs of 8-bit integers are others; what they lose, ``benchmarks.integers`` measures.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from benchmarks.memory import ROOT
from benchmarks.on_device import REPORT, Report
from training.metric import score_image

SAMPLES = ROOT / "samples"
MAX_DISTANCE = 0.5  # pixels, of the sides of two boxes
MAX_SINGLE = 0.01  # share of the boxes
MAX_F1_DIFFERENCE = 0.003  # of the means
PAIR_IOU = 0.5


class DeviceUnusableError(RuntimeError):
    """The graphs can't run where they should; says what is missing."""


@dataclass(frozen=True)
class Compared:
    """One sample on a device, beside floats on the CPU."""

    name: str
    boxes: int
    """On both sides together."""
    single: int
    """Of these, without a partner."""
    distance: float
    """The largest between sides of the boxes of a pair, pixels."""
    f1: float
    f1_of_floats: float


def run_on_device(
    device: str,
    precision: str,
    folder: Path,
    image: str | None = None,
    gpus: str | None = None,
    weights: Path | None = None,
) -> Report:
    """Run the graphs on the samples in a process of its own.

    Args:
        device: as for the predictor, as is ``precision``.
        folder: is made, and receives the results.
        image: of Docker, to run in; None for this environment.
        gpus: that docker gives to the container; None for none.
        weights: others than those of the checkout; not in an image.

    Raises:
        DeviceUnusableError: there is no such device, or what it needs.
    """
    folder.mkdir()
    module = ["-m", "benchmarks.on_device", device, precision]
    if image:
        folder.chmod(0o777)  # for the user of the container
        command = ["docker", "run", "--rm", *(["--gpus", gpus] if gpus else [])]
        for source, place in (
            (ROOT / "benchmarks", "/workspace/benchmarks:ro"),
            (SAMPLES / "images", "/images:ro"),
            (folder, "/found"),
        ):
            command += ["-v", f"{source}:{place}"]
        command += [image, "python3", *module, "/images", "/found"]
    else:
        command = [sys.executable, *module, str(SAMPLES / "images"), str(folder)]
        command += ["--weights", str(weights)] if weights else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise DeviceUnusableError(last.removeprefix("error: "))
    return Report(**json.loads((folder / REPORT).read_text()))


def compare_samples(found: Path, of_floats: Path) -> list[Compared]:
    """Each sample in two folders that ``run_on_device`` has filled."""
    compared = []
    for path in sorted(found.glob("*.npz")):
        truth = tifffile.imread(SAMPLES / "labels" / f"{path.stem}_label.tiff")
        with np.load(path) as ours, np.load(of_floats / path.name) as theirs:
            pairs, distance = pair_boxes(ours["boxes"], theirs["boxes"])
            boxes = len(ours["boxes"]) + len(theirs["boxes"])
            f1, other_f1 = (score_image(truth, side["labels"])[0].f1 for side in (ours, theirs))
        compared.append(Compared(path.stem, boxes, boxes - 2 * pairs, distance, f1, other_f1))
    return compared


def pair_boxes(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> tuple[int, float]:
    """How many pairs two sets of boxes make, and the largest distance in one.

    Args:
        ours: (N, 4) xyxy.
        theirs: (M, 4) xyxy.

    Returns:
        The pairs, and the largest distance between the same side of both boxes of a pair.
    """
    if not (len(ours) and len(theirs)):
        return 0, 0.0
    low = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    high = np.minimum(ours[:, None, 2:], theirs[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    area, other_area = ((boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (ours, theirs))
    iou = shared / (area[:, None] + other_area - shared)
    rows, columns = linear_sum_assignment(iou, maximize=True)
    good = iou[rows, columns] >= PAIR_IOU
    apart = np.abs(ours[rows[good]] - theirs[columns[good]])
    return int(good.sum()), float(apart.max(initial=0))


def differences(samples: Sequence[Compared]) -> list[str]:
    """In what a device that should find the same doesn't; nothing if it does."""
    distance = max(sample.distance for sample in samples)
    single = sum(sample.single for sample in samples) / max(1, sum(s.boxes for s in samples))
    f1 = fmean(sample.f1 for sample in samples) - fmean(s.f1_of_floats for s in samples)
    wrong = []
    if distance > MAX_DISTANCE:
        wrong.append(f"boxes are up to {distance:.2f} pixels apart, {MAX_DISTANCE} at most wanted")
    if single > MAX_SINGLE:
        wrong.append(f"{single:.1%} of the boxes have no partner, {MAX_SINGLE:.0%} at most wanted")
    if abs(f1) > MAX_F1_DIFFERENCE:
        wrong.append(f"mean F1 differs by {f1:+.4f}, {MAX_F1_DIFFERENCE} at most wanted")
    return wrong
