"""Graphs of 32-bit floats to 16 bits and back."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

_ADDED_CASTS = ("_cast_to_fp16_node", "_cast_to_fp32_node")  # how the converter names its own
_OUTPUT_CASTS = "graph_output_cast"


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
