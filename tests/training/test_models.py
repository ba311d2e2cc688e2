"""The models against the published figures."""

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from training.models.detector import SIZES, Detector, anchor_points, decode
from training.models.segmenter import Segmenter


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def multiply_adds(model: nn.Module, side: int) -> float:
    with FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, 3, side, side, device="meta"))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(("size", "millions"), [("x", 99.1), ("s", 8.97)])
def test_detector_parameters_as_published(size, millions):
    with torch.device("meta"):
        found = parameters(Detector(size, classes=80)) / 1e6
    assert found == pytest.approx(millions, abs=0.5 * 10 ** -len(str(millions).split(".")[1]))


def test_detector_x_flops_as_published():
    with torch.device("meta"):
        found = 2 * multiply_adds(Detector("x", classes=80), 640) / 1e9
    print(f"YOLOX-x at 640 x 640: {found:.1f} GFLOPs")
    # The published count (thop) adds batch norms and activations: a fifth of a per cent.
    assert found == pytest.approx(281.9, rel=0.003)


def test_full_segmenter_as_published():
    with torch.device("meta"):
        model = Segmenter("full")
        giga = multiply_adds(model, 64) / 1e9
    # The published one narrows its maps after upsampling them: the same for four times the work.
    widths = model.encoder.widths
    narrow = sum(2 * w * w * (32 // 2**i) ** 2 for i, w in enumerate(widths[:-1])) / 1e9
    backbone = parameters(model.encoder) + parameters(model.decoder)
    assert backbone / 1e6 == pytest.approx(28.95, abs=0.005)
    assert parameters(model) / 1e6 == pytest.approx(29.06, abs=0.006)
    assert giga + 3 * narrow == pytest.approx(3.18, abs=0.01)


@pytest.mark.parametrize(
    ("size", "larger", "factor"),
    [("slim", "full", 20), ("slimmer", "slim", 3.8), ("slimmest", "slimmer", 1.55)],
)
def test_slim_segmenters_are_a_part_of_larger_ones(size, larger, factor):
    with torch.device("meta"):
        assert factor * multiply_adds(Segmenter(size), 64) <= multiply_adds(Segmenter(larger), 64)


@pytest.mark.parametrize("size", ["full", "slim", "slimmer", "slimmest", "swin"])
def test_every_part_of_a_segmenter_takes_part(size):
    torch.manual_seed(0)
    model = Segmenter(size, classes=3)
    outputs = model(torch.rand(2, 3, 64, 96))
    assert outputs[0].shape == (2, 3, 64, 96)
    sum(output.square().sum() for output in outputs).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


@pytest.mark.parametrize("size", ["nano", "tiny"])
def test_detector_output_on_an_image_that_is_not_square(size):
    model = Detector(size).eval()
    with torch.inference_mode():
        found = model(torch.zeros(2, 3, 64, 160))
    points = 8 * 20 + 4 * 10 + 2 * 5
    assert found.boxes.shape == (2, points, 4)
    assert found.objectness.shape == (2, points)
    assert found.classes.shape == (2, points, 1)


def test_boxes_are_decoded_where_they_are_seen():
    # The third anchor point of the second row, stride 8, of an image 32 high and 64 wide.
    points, strides = anchor_points(32, 64, torch.device("cpu"))
    raw = torch.zeros(1, len(points), 4)
    raw[0, 8 + 2] = torch.tensor([0.5, 0.25, math.log(2), math.log(3)])
    # Centre (2.5, 1.25) and size (2, 3) in strides.
    wanted = torch.tensor([2.5 * 8 - 8, 1.25 * 8 - 12, 2.5 * 8 + 8, 1.25 * 8 + 12])
    torch.testing.assert_close(decode(raw, points, strides)[0, 10], wanted)


def test_every_size_of_the_family_can_be_built():
    counts = []
    with torch.device("meta"):
        for size in SIZES:
            counts.append(parameters(Detector(size)))
    assert counts == sorted(counts)
