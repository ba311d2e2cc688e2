"""The input of a graph of integers: the pixels as they are, for they are integers already."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from training.models.blocks import CHANNEL, COLUMN, ROW

# What may lie between the pixels and their quantisation: it leaves each where it is.
_SCALES = {"Cast", "Div", "Mul", "Add", "Sub", "QuantizeLinear"}
_AS_THEY_LIE = [ROW, COLUMN, CHANNEL]  # of a block, in memory


def take_pixels(path: Path, black: float, step: float) -> None:
    """Let a quantised graph take its uint8 input as quantised, rather than round it anew.

    What lies between the cast of the pixels to floats and their quantisation goes. And the values
    of a block stay in the order in which they lie in memory. The first convolution is changed so
    that it gives the same.

    Args:
        path: the graph, in QDQ form, whose pixels ``training.models.blocks`` has made blocks of; it
            is written anew.
        black: the float that pixels of 0 stand for.
        step: by which the float grows from each grey level to the next.

    Raises:
        ValueError: the graph doesn't begin so.
    """
    model = onnx.load(path)
    graph = model.graph

    def only_user(name: str) -> onnx.NodeProto:
        users: list[onnx.NodeProto] = [node for node in graph.node if name in node.input]
        if len(users) != 1:
            raise ValueError(f"{path}: {name} is used {len(users)} times, not once")
        return users[0]

    chain = [node for node in graph.node if node.op_type == "Cast"][:1]
    while chain and chain[-1].op_type != "QuantizeLinear":
        chain.append(only_user(chain[-1].output[0]))
    if not chain:
        raise ValueError(f"{path}: the pixels are not cast to floats")
    if others := {node.op_type for node in chain} - _SCALES:
        raise ValueError(
            f"{path}: between pixels and integers is {', '.join(sorted(others))}, not only "
            "scaling; was the graph exported by an earlier version? Export it anew"
        )
    first = only_user(chain[-1].output[0])
    zero_point = round(-black / step)
    numbers = {"pixel_scale": np.float32(step), "pixel_zero_point": np.uint8(zero_point)}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(number), name) for name, number in numbers.items()
    )
    first.input[:] = [chain[0].input[0], *numbers]
    move = next(n for n in graph.node if n.op_type == "Transpose" and len(n.attribute[0].ints) == 6)
    order = list(move.attribute[0].ints[3:])
    move.attribute[0].ints[3:] = _AS_THEY_LIE
    kernels, bias = only_user(first.output[0]).input[1:]
    # Zero lies between two grey levels, but the zero point is one of them.
    _change(graph, kernels, bias, order, step, -black / step - zero_point)
    kept = [node for node in graph.node if node not in chain]
    used = {name for node in kept for name in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    for field, values in ((graph.node, kept), (graph.initializer, tensors), (graph.value_info, [])):
        del field[:]
        field.extend(values)
    onnx.save(model, path)


def _change(
    graph: onnx.GraphProto, kernels: str, bias: str, order: list[int], step: float, rest: float
) -> None:
    """Suit the first convolution to its input.

    Args:
        kernels: what it takes, of the weights' dequantisation; ``bias`` likewise.
        order: that the values of a block had.
        step: the scale of its input.
        rest: grey levels that the zero point is too low by.
    """
    stored = {tensor.name: tensor for tensor in graph.initializer}

    def inputs(output: str) -> list[str]:
        return list(next(node.input for node in graph.node if output in node.output))

    def values(name: str) -> NDArray[Any]:
        return np.asarray(numpy_helper.to_array(stored[name]))

    def store(name: str, array: NDArray[Any]) -> None:
        stored[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), name))

    weights, scale, _ = inputs(kernels)
    whole = values(weights)
    side = round((whole.shape[1] / 3) ** 0.5)
    sizes = {ROW: side, COLUMN: side, CHANNEL: 3}
    by_axis = whole.reshape(len(whole), *(sizes[axis] for axis in order), *whole.shape[2:])
    axes = [1 + order.index(axis) for axis in _AS_THEY_LIE]
    store(weights, by_axis.transpose(0, *axes, 4, 5).reshape(whole.shape))

    name, old_scale, _ = inputs(bias)
    new_scale = step * values(scale)
    floats = values(name) * values(old_scale) / new_scale - rest * whole.sum((1, 2, 3))
    store(name, np.rint(floats).astype(np.int32))
    store(old_scale, new_scale.astype(np.float32))
