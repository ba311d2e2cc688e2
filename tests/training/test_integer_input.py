"""A graph of integers takes pixels as they are."""

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from training.integer_input import take_pixels
from training.models.blocks import CHANNEL, COLUMN, ROW, blocks
from training.models.yolox_layers import Focus

BLACK, STEP = -1.0, 1 / 127.5
OTHER = 0.0081, 126  # scale and zero point of the input, as calibration may find them


@pytest.mark.parametrize("order", list(itertools.permutations((ROW, COLUMN, CHANNEL))))
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_blocks_against_a_loop(order, dtype):
    images = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6).to(dtype)
    made = blocks(images, 2, order)
    assert made.shape == (2, 12, 2, 3) and made.dtype == dtype
    sizes = {ROW: 2, COLUMN: 2, CHANNEL: 3}
    for number, places in enumerate(np.ndindex(*(sizes[axis] for axis in order))):
        place = dict(zip(order, places, strict=True))
        there = images[:, place[CHANNEL], place[ROW] :: 2, place[COLUMN] :: 2]
        assert torch.equal(made[:, number], there)


def test_blocks_of_the_segmenter_are_those_of_pixel_unshuffle():
    images = torch.rand(2, 3, 8, 4)
    assert torch.equal(
        blocks(images, 2, (CHANNEL, ROW, COLUMN)), nn.functional.pixel_unshuffle(images, 2)
    )


def test_the_detector_has_the_public_order():
    focus, images = Focus(4).eval(), torch.rand(1, 3, 6, 8)
    corners = [images[..., i::2, j::2] for j in (0, 1) for i in (0, 1)]
    torch.testing.assert_close(focus(images), focus.conv(torch.cat(corners, 1)))


@pytest.mark.parametrize("order", [(CHANNEL, ROW, COLUMN), (COLUMN, ROW, CHANNEL)])
def test_the_graph_gives_what_it_gave(order, tmp_path):
    path = tmp_path / "graph.onnx"
    onnx.save(graph(order), path)
    pixels = np.random.default_rng(1).integers(0, 256, (2, 10, 8, 3), np.uint8)
    before = run(path, pixels)
    take_pixels(path, BLACK, STEP)
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    assert kinds == [*["Reshape", "Transpose"] * 2, *["DequantizeLinear"] * 3, "Conv"]
    after = run(path, pixels)
    # Inside, where no padding is: that is half a grey level beside zero.
    wanted = exact(pixels, order)
    assert np.abs(wanted).max() > 2
    np.testing.assert_allclose(after[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], atol=0.002)
    np.testing.assert_allclose(after, wanted, atol=0.1)
    errors = [np.abs(made - wanted)[..., 1:-1, 1:-1].mean() for made in (before, after)]
    assert errors[1] < 0.2 * errors[0]  # which has rounded the pixels once more


def test_another_graph_is_refused(tmp_path):
    path = tmp_path / "graph.onnx"
    model = graph((ROW, COLUMN, CHANNEL))
    model.graph.node.append(helper.make_node("Relu", ["floats"], ["another"]))
    onnx.save(model, path)
    with pytest.raises(ValueError, match=r"graph\.onnx: floats is used 2 times, not once"):
        take_pixels(path, BLACK, STEP)
    del model.graph.node[-1]
    model.graph.node[5].op_type = "Relu"
    onnx.save(model, path)
    with pytest.raises(ValueError, match=r"is Relu, not only scaling; .*Export it anew"):
        take_pixels(path, BLACK, STEP)
    del model.graph.node[4]
    onnx.save(model, path)
    with pytest.raises(ValueError, match="the pixels are not cast to floats"):
        take_pixels(path, BLACK, STEP)


def graph(order):
    """Blocks of pixels, normalised, quantised as the pixels lie, and a convolution on them."""
    rng = np.random.default_rng(0)
    constants = {
        "parts": np.array([2, 5, 2, 4, 2, 3]),
        "together": np.array([2, 5, 4, 12]),
        "half": np.float32(127.5),
        "one": np.float32(1),
        "scale": np.float32(OTHER[0]),
        "zero": np.uint8(OTHER[1]),
        "kernels": rng.integers(-127, 128, (5, 12, 3, 3)).astype(np.int8),
        "kernel_scale": np.linspace(0.001, 0.002, 5, dtype=np.float32),
        "kernel_zero": np.zeros(5, np.int8),
        "bias": rng.integers(-100_000, 100_000, 5).astype(np.int32),
        "bias_scale": np.float32(OTHER[0]) * np.linspace(0.001, 0.002, 5, dtype=np.float32),
        "bias_zero": np.zeros(5, np.int32),
    }
    nodes = [
        ("Reshape", ["pixels", "parts"], "six", {}),
        ("Transpose", ["six"], "moved", {"perm": [0, 1, 3, *order]}),
        ("Reshape", ["moved", "together"], "four", {}),
        ("Transpose", ["four"], "first", {"perm": [0, 3, 1, 2]}),
        ("Cast", ["first"], "floats", {"to": TensorProto.FLOAT}),
        ("Div", ["floats", "half"], "halves", {}),
        ("Sub", ["halves", "one"], "normal", {}),
        ("QuantizeLinear", ["normal", "scale", "zero"], "coarse", {}),
        ("DequantizeLinear", ["coarse", "scale", "zero"], "input", {}),
        ("DequantizeLinear", ["kernels", "kernel_scale", "kernel_zero"], "weights", {"axis": 0}),
        ("DequantizeLinear", ["bias", "bias_scale", "bias_zero"], "added", {"axis": 0}),
        ("Conv", ["input", "weights", "added"], "output", {"pads": [1, 1, 1, 1]}),
    ]
    return helper.make_model(
        helper.make_graph(
            [helper.make_node(kind, i, [o], **more) for kind, i, o, more in nodes],
            "graph",
            [helper.make_tensor_value_info("pixels", TensorProto.UINT8, (2, 10, 8, 3))],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, (2, 5, 5, 4))],
            [onnx.numpy_helper.from_array(np.array(v), name) for name, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )


def exact(pixels, order):
    """What the convolution gives for pixels that are not rounded."""
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in graph(order).graph.initializer}
    weights = stored["kernels"] * stored["kernel_scale"][:, None, None, None]
    bias = (stored["bias"] * stored["bias_scale"]).astype(np.float32)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    floats = BLACK + STEP * blocks(images, 2, order).float()
    return nn.functional.conv2d(
        floats, torch.from_numpy(weights), torch.from_numpy(bias), padding=1
    ).numpy()


def run(path, pixels):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"pixels": pixels})[0]
