"""Exported weights to graphs of fewer bits beside them, for machines that are fast with those.

    python -m training.quantise weights DATA

8-bit integers for CPUs with VNNI instructions, by static quantisation as ONNX Runtime does it:
weights by channel, activations by the lowest and the highest value that they take on an image,
as a moving average over a few images of each source and modality of split ``train``: the extremes
of all of them would leave too few steps to what is usual. 16-bit floats for GPUs. In both all from
the image to the last convolution of each branch has fewer bits; these convolutions and what follows
them, boxes and scores, stay in 32-bit floats. The settings name the new graphs for ``vnni`` and
``cuda``.
"""

import argparse
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
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from app.settings import Graph, Machine, Method, Settings, load_settings, sha256
from app.tile import enlarge, pad, scale_factor
from training.cells import cell_crop
from training.data import Labelled, load_image, read_split
from training.export import ExportedDetector, ExportedSegmenter, write_settings

_IMAGES = 3  # of a source and modality
_SIDE = 640  # of the middle of an image that the detector sees, pixels at detection scale
_CELLS = 16  # of an image that the segmenter sees
_SEED = 1
# All that the models are made of and integers can do.
_OPERATORS = (
    *("Conv", "Sigmoid", "Mul", "Relu", "Add", "Concat"),
    *("MaxPool", "Resize", "SpaceToDepth", "DepthToSpace"),
)
_INTEGERS, _HALVES = "_int8", "_fp16"  # in the names of the files


class Batches(CalibrationDataReader):  # type: ignore[misc]
    """What a graph is shown: batches of its only input."""

    def __init__(self, name: str, batches: Iterator[NDArray[np.uint8]]) -> None:
        self.name, self.batches = name, batches

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self.batches, None)
        return None if batch is None else {self.name: batch}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("data", type=Path)
    options = parser.parse_args(arguments)
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
    """
    settings = load_settings(folder)
    images = some_images(data, settings)
    detector = Batches(ExportedDetector.input, (middle(image, settings) for image in images))
    segmenter = Batches(ExportedSegmenter.input, (cells(image, settings) for image in images))
    note = f"8-bit integers, by {len(images)} images of split train"

    def add(graphs: Mapping[Machine, Graph], batches: Batches) -> dict[Machine, Graph]:
        floats = graphs["cpu"]
        source = folder / floats.file
        integers, halves = (source.with_stem(source.stem + end) for end in (_INTEGERS, _HALVES))
        quantise(source, integers, batches)
        halve(source, halves)
        made: dict[Machine, Graph] = {"cpu": floats}
        ways: dict[Machine, tuple[Path, str]] = {
            "vnni": (integers, note),
            "cuda": (halves, "16-bit floats"),
        }
        for machine, (path, how) in ways.items():
            trained = f"{how}; {floats.trained}"
            made[machine] = Graph(file=path.name, sha256=sha256(path), trained=trained)
        return made

    settings = dataclasses.replace(
        settings,
        detector=add(settings.detector, detector),
        segmenter=add(settings.segmenter, segmenter),
    )
    write_settings(settings, folder)
    return settings


def quantise(source: Path, target: Path, batches: CalibrationDataReader) -> None:
    """Write a graph whose convolutions, and what is between them, take integers."""
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


def halve(source: Path, target: Path) -> None:
    """Write a graph whose convolutions, and what is between them, take 16-bit floats."""
    model = onnx.load(source)
    early = set(before_convolutions(model.graph))
    late = [node.name for node in model.graph.node if node.name not in early]
    halved = convert_float_to_float16(model, keep_io_types=True, node_block_list=late)
    # A value that several of the late nodes take is cast for each, every time to the same name.
    once = {node.output[0]: node for node in reversed(halved.graph.node)}
    nodes = [node for node in halved.graph.node if once[node.output[0]] is node]
    del halved.graph.node[:]
    halved.graph.node.extend(nodes)
    onnx.save(halved, target)


def before_convolutions(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes from which a convolution can be reached.

    The others compute pixels: of the anchor points, of the boxes. 8 bits are too coarse for them.
    """
    users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)
    before: set[str] = set()
    for node in reversed(graph.node):  # in the order of computing
        after = [user for name in node.output for user in users[name]]
        if any(user.op_type == "Conv" or user.name in before for user in after):
            before.add(node.name)
    return sorted(before)


def some_images(data: Path, method: Method) -> list[Labelled]:
    """A few images of each source and modality of split ``train``, with cells."""
    groups: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in read_split(data, "train"):
        groups[row["source"], row["modality"]].append(row)
    rng = np.random.default_rng(_SEED)
    rows = [rows[i] for rows in groups.values() for i in rng.permutation(len(rows))[:_IMAGES]]
    images = [load_image(data, row, method) for row in rows]
    return [image for image in images if len(image.ids)]


def middle(image: Labelled, method: Method) -> NDArray[np.uint8]:
    """The middle of an image at detection scale, padded: (1, H, W, 3) uint8."""
    enlarged = enlarge(image.image, scale_factor(image.image.shape, method))
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
