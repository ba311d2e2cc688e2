"""Graphs of 8-bit integers against those of floats: F1 and seconds on ``val``.

    python -m benchmarks.integers DATA [--weights weights]

Needs weights with graphs for ``vnni`` (training/quantise.py), and a CPU with these instructions.
Seconds are of all images, read and normalised already; compare them within one run only.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.detect import detect
from app.machine import available_threads, has_vnni
from app.predict import Predictor
from app.settings import load_settings
from benchmarks.magnification import Boxes, print_heading, print_row, score
from training.data import load_labelled
from training.export import write_settings


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    options = parser.parse_args()
    settings = load_settings(options.weights)
    if "vnni" not in settings.detector or not has_vnni():
        parser.error("the weights have no graphs for vnni, or this CPU no such instructions")
    images = load_labelled(options.data, "val", settings)
    integers = Predictor(options.weights, "cpu", available_threads())
    with tempfile.TemporaryDirectory() as name:
        floats = without_integers(options.weights, Path(name))
    print_heading(images)
    for what, predictor in (("floats", floats), ("integers", integers)):
        print_row(what, *score(images, finder(predictor), predictor, what))


def finder(predictor: Predictor) -> Callable[[NDArray[np.uint8]], Boxes]:
    """An image to its boxes, by the predictor's own rule."""
    return lambda image: detect(image, predictor.detector, predictor.settings)[0]


def without_integers(weights: Path, folder: Path) -> Predictor:
    """A predictor by graphs of floats, whatever the CPU can do."""
    settings = load_settings(weights)
    graphs = {"detector": settings.detector["cpu"], "segmenter": settings.segmenter["cpu"]}
    for graph in graphs.values():
        (folder / graph.file).symlink_to((weights / graph.file).resolve())
    write_settings(
        dataclasses.replace(
            settings, detector={"cpu": graphs["detector"]}, segmenter={"cpu": graphs["segmenter"]}
        ),
        folder,
    )
    return Predictor(folder, "cpu", available_threads())


if __name__ == "__main__":
    main()
