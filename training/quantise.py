"""Graphs of fewer bits beside exported weights, for processors that are fast with those.

    python -m training.quantise weights DATA

8-bit integers for CPUs with VNNI instructions, by ONNX Runtime's static quantisation: weights by
channel, activations by the lowest and the highest value that they take on an image, as a moving
average over a few images of each source and modality of split ``train``, each in the look that
prediction chooses. (The extremes of all of them would leave too few steps to the usual values.)
They are stored in the runtime's own format, which is loaded in half the time.
16-bit floats for GPUs. In both, everything from the image to the last convolution of each branch
has fewer bits; these convolutions and what follows them, boxes and scores, stay in 32-bit floats.

The settings name the new graphs: those of integers for ``vnni``; the detector's of 16-bit floats
for every other processor, since it is as fast on a CPU as the one of 32 bits, which is deleted; the
segmenter's of 16-bit floats, which is slower there, for ``cuda`` alone.
"""

import dataclasses
import logging
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from app.files.open import read_image
from app.predict import Predictor
from app.processor import Processor, available_threads
from app.settings import Graph, Method, Settings, load_settings, sha256
from app.tile import magnify, pad
from training.cells import cell_crop
from training.command import command_parser, user_errors
from training.data import Labelled, load_image
from training.errors import InputError
from training.export import ExportedDetector, ExportedSegmenter, take_places, write_settings
from training.half_floats import before_convolutions, halve, widen
from training.integer_input import take_pixels
from training.layout import image_path, read_split
from training.look import show

_IMAGES = 3  # of a source and modality
_SIDE = 640  # of the middle of an image that the detector sees, pixels at detection scale
_CELLS = 16  # of an image that the segmenter sees
_SEED = 1
# Of what the models are made of, all that integers can do.
_OPERATORS = (
    *("Conv", "Sigmoid", "Mul", "Relu", "Add", "Concat"),
    *("MaxPool", "Resize", "SpaceToDepth", "DepthToSpace"),
)
_INTEGERS, _HALVES = "_int8.ort", "_fp16"  # ends of the names of the files
_HALVED = "16-bit floats; "  # in the notes on them


class Batches(CalibrationDataReader):  # type: ignore[misc]
    """What a graph is shown: batches of its only input."""

    def __init__(self, name: str, batches: Iterator[NDArray[np.uint8]]) -> None:
        self.name, self.batches = name, batches

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self.batches, None)
        return None if batch is None else {self.name: batch}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = command_parser(__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("data", type=Path)
    options = parser.parse_args(arguments)
    with user_errors(parser):
        settings = quantise_weights(options.weights, options.data)
    for graphs in (settings.detector, settings.segmenter):
        for graph in graphs.values():
            path = options.weights / graph.file
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


def quantise_weights(folder: Path, data: Path) -> Settings:
    """Write both models' graphs of fewer bits beside the others, and name them in the settings.

    Args:
        folder: the weights.
        data: data set in the challenge's layout.

    Returns:
        The new settings.

    Raises:
        SettingsError: the weights can't be used.
        OSError, InputError, ImageError: the images can't.
    """
    settings = load_settings(folder)
    method = settings.method
    images = some_images(data, Predictor(folder, "cpu", available_threads()))
    detector = Batches(ExportedDetector.input, (middle(*image, method) for image in images))
    segmenter = Batches(ExportedSegmenter.input, (cells(image, method) for image, _ in images))
    note = f"8-bit integers, by {len(images)} images of split train; "

    def make(
        graphs: Mapping[Processor, Graph],
        batches: Batches,
        pixels: tuple[float, float],
        scratch: Path,
    ) -> dict[Processor, Graph]:
        floats = graphs["cpu"]
        source, trained = folder / floats.file, floats.trained.removeprefix(_HALVED)
        stem = source.stem.removesuffix(_HALVES)
        integers = scratch / f"{stem}{_INTEGERS}"
        halves = source if stem != source.stem else scratch / f"{stem}{_HALVES}.onnx"
        with tempfile.TemporaryDirectory() as name:
            wide, narrow = Path(name, "wide.onnx"), Path(name, "narrow.onnx")
            widen(source, wide)
            quantise(wide, narrow, batches, pixels)
            store(narrow, integers)
            if halves != source:
                halve(wide, halves)
        return {
            "cpu": floats,
            "vnni": _describe(integers, note + trained),
            "cuda": _describe(halves, _HALVED + trained),
        }

    # All are made before any takes its place, the settings last: what stops it changes nothing.
    with tempfile.TemporaryDirectory(dir=folder) as name:
        scratch = Path(name)
        made = make(settings.detector, detector, ExportedDetector.pixels, scratch)
        also = make(settings.segmenter, segmenter, ExportedSegmenter.pixels, scratch)
        wide, made["cpu"] = made["cpu"], made.pop("cuda")
        settings = dataclasses.replace(settings, detector=made, segmenter=also)
        write_settings(settings, scratch)
        take_places(scratch, folder)
    if wide.file != made["cpu"].file:
        (folder / wide.file).unlink()
    return settings


def _describe(path: Path, trained: str) -> Graph:
    return Graph(file=path.name, sha256=sha256(path), trained=trained)


def quantise(
    source: Path, target: Path, batches: CalibrationDataReader, pixels: tuple[float, float]
) -> None:
    """Write a graph whose convolutions, and what is between them, take integers.

    Args:
        pixels: what those of the input stand for, black and step of ``take_pixels``.
    """
    with tempfile.TemporaryDirectory() as name:
        prepared = Path(name, "graph.onnx")
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            batches,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            extra_options={"CalibMovingAverage": True},
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(_OPERATORS),
            nodes_to_quantize=before_convolutions(onnx.load(prepared).graph),
        )
    take_pixels(target, *pixels)


def store(source: Path, target: Path) -> None:
    """Write an ONNX graph in ONNX Runtime's own format, that is loaded in half the time.

    The runtime's optimisations that suit any CPU are done already.
    """
    options = SessionOptions()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    InferenceSession(source, options, providers=["CPUExecutionProvider"])


def some_images(data: Path, predictor: Predictor) -> list[tuple[Labelled, float]]:
    """A few images of each source and modality of split ``train``, with cells, as prediction shows
    them; and the magnification of each, at which the detector sees it."""
    groups: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in read_split(data, "train"):
        groups[row["source"], row["modality"]].append(row)
    rng = np.random.default_rng(_SEED)
    rows = [rows[i] for rows in groups.values() for i in rng.permutation(len(rows))[:_IMAGES]]
    images = []
    for row in rows:
        image = load_image(data, row, predictor.method)
        shown, look = show(np.atleast_3d(read_image(image_path(data, row))), predictor)
        if len(image.ids) and look.channels:
            images.append((dataclasses.replace(image, image=shown[:, :]), look.magnification))
    if not images:
        raise InputError(f"{data}: of {len(rows)} images of split train none has a cell")
    return images


def middle(image: Labelled, magnification: float, method: Method) -> NDArray[np.uint8]:
    """The middle of an image as the detector sees it, padded: (1, H, W, 3) uint8."""
    enlarged = magnify(image.image, magnification)
    y, x = (max(0, side - _SIDE) // 2 for side in enlarged.shape[:2])
    return pad(np.ascontiguousarray(enlarged[y : y + _SIDE, x : x + _SIDE]), method)[None]


def cells(image: Labelled, method: Method) -> NDArray[np.uint8]:
    """Some cells of an image, cut by their true boxes: (N, S, S, 3) uint8."""
    chosen = np.random.default_rng(_SEED).permutation(len(image.ids))[:_CELLS]
    crops = [cell_crop(image, int(n), image.boxes[n], method)[0] for n in chosen]
    return np.stack(crops)


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # onnxruntime's advice on preparing the graph, taken already
    sys.exit(main())
