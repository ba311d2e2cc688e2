"""Graphs of fewer bits beside exported weights, for processors that are fast with those.

    python -m training.quantise weights DATA

8-bit integers for CPUs with VNNI instructions, by ONNX Runtime's static quantisation: weights by
channel, activations by the lowest and the highest value that they take on an image, as a moving
average over a few images of each source and modality of split ``train``, each in the look that
prediction chooses. (The extremes of all of them would leave too few steps to the usual values.)
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
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from app.files.open import read_image
from app.predict import Predictor
from app.processor import Processor, available_threads
from app.settings import Graph, Method, Settings, load_settings, sha256
from app.tile import magnify, pad
from training.cells import cell_crop
from training.command import command_parser, user_errors
from training.data import Labelled, load_image
from training.errors import InputError
from training.export import ExportedDetector, ExportedSegmenter, write_settings
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
_INTEGERS, _HALVES = "_int8", "_fp16"  # in the names of the files
_ADDED_CASTS = ("_cast_to_fp16_node", "_cast_to_fp32_node")  # how the converter names its own
_OUTPUT_CASTS = "graph_output_cast"
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

    def add(
        graphs: Mapping[Processor, Graph], batches: Batches, pixels: tuple[float, float]
    ) -> dict[Processor, Graph]:
        floats = graphs["cpu"]
        source, trained = folder / floats.file, floats.trained.removeprefix(_HALVED)
        plain = source.with_stem(source.stem.removesuffix(_HALVES))
        integers, halves = (plain.with_stem(plain.stem + end) for end in (_INTEGERS, _HALVES))
        with tempfile.TemporaryDirectory() as name:
            wide = Path(name, plain.name)
            widen(source, wide)
            quantise(wide, integers, batches, pixels)
            if source != halves:
                halve(wide, halves)
        return {
            "cpu": floats,
            "vnni": _describe(integers, note + trained),
            "cuda": _describe(halves, _HALVED + trained),
        }

    detector_graphs, segmenter_graphs = (
        add(settings.detector, detector, ExportedDetector.pixels),
        add(settings.segmenter, segmenter, ExportedSegmenter.pixels),
    )
    wide = folder / detector_graphs["cpu"].file
    detector_graphs["cpu"] = detector_graphs.pop("cuda")
    if wide.name != detector_graphs["cpu"].file:
        wide.unlink()
    settings = dataclasses.replace(settings, detector=detector_graphs, segmenter=segmenter_graphs)
    write_settings(settings, folder)
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


def halve(source: Path, target: Path) -> None:
    """Write a graph whose convolutions, and what is between them, take 16-bit floats."""
    model = onnx.load(source)
    early = set(before_convolutions(model.graph))
    late = [node.name for node in model.graph.node if node.name not in early]
    halved = convert_float_to_float16(model, keep_io_types=True, node_block_list=late)
    graph = halved.graph
    # Late values would be rounded between any two nodes: those that were cast are taken themselves.
    casts = {node.output[0]: node for node in graph.node if node.name.endswith(_ADDED_CASTS)}
    direct = {
        name: casts[cast.input[0]].input[0]
        for name, cast in casts.items()
        if cast.input[0] in casts
    }
    _rename_inputs(graph, direct)
    for node in graph.node:
        if node.name.startswith(_OUTPUT_CASTS) and node.input[0] in casts:
            node.input[0] = casts[node.input[0]].input[0]
    used = {name for node in graph.node for name in node.input}
    # A value that several of the late nodes take is cast for each, every time to the same name.
    once = {node.output[0]: node for node in reversed(graph.node)}
    nodes = [
        node
        for node in graph.node
        if once[node.output[0]] is node and (node.output[0] in used or node.output[0] not in casts)
    ]
    _replace_nodes(graph, nodes)
    onnx.save(halved, target)


def widen(source: Path, target: Path) -> None:
    """Write a graph of 32-bit floats alone; what ``halve`` has rounded stays rounded."""
    model = onnx.load(source)
    graph = model.graph
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT16:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    casts = {
        node.output[0]: node.input[0] for node in graph.node if node.name.endswith(_ADDED_CASTS)
    }
    _rename_inputs(graph, casts)
    _replace_nodes(graph, [node for node in graph.node if node.output[0] not in casts])
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Cast" else ():
            if attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT16:
                attribute.i = onnx.TensorProto.FLOAT
    del graph.value_info[:]
    onnx.save(model, target)


def _rename_inputs(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Let every node take other values instead of those named, as often as they are renamed."""
    for node in graph.node:
        for place, name in enumerate(node.input):
            while name in names:
                name = names[name]
            node.input[place] = name


def _replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    del graph.node[:]
    graph.node.extend(nodes)


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
