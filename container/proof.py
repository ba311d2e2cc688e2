"""What the parts of the proof share: an engine, a folder, what was found wrong, the tables."""

import secrets
import statistics
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile

from app.files.labels import output_path
from app.files.open import find_images
from container.engine import Engine
from tests.app.sample_scores import SAMPLE_F1, SAMPLES, TOLERANCE
from training.metric import score_image

TAG = "vsm"
SUFFIX = "_label.tiff"
IMAGES = tuple(find_images(SAMPLES / "images"))
# The smallest, where it is not the cells that matter.
SMALL = (min(IMAGES, key=lambda path: path.stat().st_size),)


@dataclass
class Proof:
    """What all of this works with, and what was found wrong."""

    engine: Engine
    folder: Path
    """Private: for inputs and outputs."""
    mark: str = field(default_factory=lambda: secrets.token_hex(16))
    """Stands in each build secret and must not stand in the image; names the containers, too."""
    faults: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """What this machine can't try."""

    def check(self, good: bool, fault: str) -> None:
        if not good:
            self.faults.append(fault)


def judge(proof: Proof, what: str, outputs: Path, images: Collection[Path]) -> list[float]:
    """Check the label images of some of the samples; returns the F1 of each."""
    names = {output_path(image, outputs).name for image in images}
    there = {path.name for path in outputs.glob(f"*{SUFFIX}")}
    proof.check(there == names, f"{what}: missing or too much: {sorted(there ^ names)}")
    scores = []
    for name in sorted(there & names):
        truth, label = (tifffile.imread(folder / name) for folder in (SAMPLES / "labels", outputs))
        whole = np.array_equal(np.unique(label), np.arange(label.max() + 1))
        good = whole and label.dtype == np.uint16 and label.shape == truth.shape
        proof.check(good, f"{what}: {name} is {label.dtype} {label.shape}, ids whole: {whole}")
        f1, usual = score_image(truth, label)[0].f1, SAMPLE_F1[name.removesuffix(SUFFIX)]
        proof.check(abs(f1 - usual) <= TOLERANCE, f"{what}: F1 of {name} is {f1:.3f}, not {usual}")
        scores.append(f1)
    return scores


def print_row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def print_head(*cells: str) -> None:
    print()
    print_row(*cells)
    print_row(*["---"] * len(cells))


def mean_text(scores: list[float]) -> str:
    return f"{statistics.fmean(scores):.3f}" if scores else ""
