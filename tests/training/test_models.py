"""The models against the published figures, and official checkpoints against our names."""

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from training.models.detector import SIZES, Detector, anchor_points, decode, load_official
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
    backbone = parameters(model.encoder) + parameters(model.decoder)
    assert backbone / 1e6 == pytest.approx(28.95, abs=0.005)
    assert parameters(model) / 1e6 == pytest.approx(29.06, abs=0.006)
    assert giga == pytest.approx(3.18, abs=0.01)


@pytest.mark.parametrize(
    ("size", "larger", "factor"), [("slim", "full", 20), ("slimmer", "slim", 3.8)]
)
def test_slim_segmenters_are_a_part_of_larger_ones(size, larger, factor):
    with torch.device("meta"):
        assert factor * multiply_adds(Segmenter(size), 64) <= multiply_adds(Segmenter(larger), 64)


@pytest.mark.parametrize("size", ["full", "slim", "slimmer", "swin"])
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


# --------------------------------------------------------------------- official checkpoints

# Written from the public repository's naming, not from our modules, so that a slip in ours shows.
_WIDTHS = {"dark2": 64, "dark3": 128, "dark4": 256, "dark5": 512}


def _official_state(classes: int) -> dict[str, torch.Tensor]:
    """Names and shapes of the official YOLOX-s checkpoint, with random values."""
    state = {}

    def conv(name, inputs, outputs, kernel):
        state[f"{name}.conv.weight"] = torch.randn(outputs, inputs, kernel, kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.bn.{part}"] = torch.rand(outputs)
        state[f"{name}.bn.num_batches_tracked"] = torch.tensor(7)

    def csp(name, inputs, outputs, repeats):
        hidden = outputs // 2
        conv(f"{name}.conv1", inputs, hidden, 1)
        conv(f"{name}.conv2", inputs, hidden, 1)
        conv(f"{name}.conv3", 2 * hidden, outputs, 1)
        for i in range(repeats):
            conv(f"{name}.m.{i}.conv1", hidden, hidden, 1)
            conv(f"{name}.m.{i}.conv2", hidden, hidden, 3)

    conv("backbone.backbone.stem.conv", 12, 32, 3)
    inputs = 32
    for stage, outputs in _WIDTHS.items():
        conv(f"backbone.backbone.{stage}.0", inputs, outputs, 3)
        if stage == "dark5":
            conv(f"backbone.backbone.{stage}.1.conv1", outputs, outputs // 2, 1)
            conv(f"backbone.backbone.{stage}.1.conv2", outputs * 2, outputs, 1)
        repeats = 3 if stage in ("dark3", "dark4") else 1
        csp(f"backbone.backbone.{stage}.{2 if stage == 'dark5' else 1}", outputs, outputs, repeats)
        inputs = outputs
    conv("backbone.lateral_conv0", 512, 256, 1)
    csp("backbone.C3_p4", 512, 256, 1)
    conv("backbone.reduce_conv1", 256, 128, 1)
    csp("backbone.C3_p3", 256, 128, 1)
    conv("backbone.bu_conv2", 128, 128, 3)
    csp("backbone.C3_n3", 256, 256, 1)
    conv("backbone.bu_conv1", 256, 256, 3)
    csp("backbone.C3_n4", 512, 512, 1)
    for level, inputs in enumerate((128, 256, 512)):
        conv(f"head.stems.{level}", inputs, 128, 1)
        for branch in ("cls", "reg"):
            for i in range(2):
                conv(f"head.{branch}_convs.{level}.{i}", 128, 128, 3)
        for branch, outputs in (("cls", classes), ("reg", 4), ("obj", 1)):
            state[f"head.{branch}_preds.{level}.weight"] = torch.randn(outputs, 128, 1, 1)
            state[f"head.{branch}_preds.{level}.bias"] = torch.randn(outputs)
    return state


def test_official_checkpoint_is_loaded_whole_but_for_the_classes():
    model, state = Detector("s"), _official_state(classes=80)
    left = load_official(model, state)
    assert sorted(left) == [
        f"head.cls_preds.{level}.{part}" for level in range(3) for part in ("bias", "weight")
    ]
    ours = model.state_dict()
    assert len(ours) == len(state)
    pairs = {
        "backbone.stem.conv.conv.weight": "backbone.backbone.stem.conv.conv.weight",
        "backbone.dark5.1.conv2.bn.running_var": "backbone.backbone.dark5.1.conv2.bn.running_var",
        "neck.lateral_conv0.conv.weight": "backbone.lateral_conv0.conv.weight",
        "neck.C3_n4.m.0.conv2.conv.weight": "backbone.C3_n4.m.0.conv2.conv.weight",
        "head.reg_preds.2.bias": "head.reg_preds.2.bias",
    }
    for name, official in pairs.items():
        torch.testing.assert_close(ours[name], state[official])


def test_official_checkpoint_of_our_number_of_classes_is_loaded_whole():
    model, state = Detector("s"), _official_state(classes=1)
    assert load_official(model, state) == []
    torch.testing.assert_close(
        model.state_dict()["head.cls_preds.0.weight"], state["head.cls_preds.0.weight"]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("head.obj_preds.1.bias"), r"missing .*head\.obj_preds\.1\.bias"),
        (lambda s: s.update({"head.extra": torch.zeros(1)}), r"unknown .*head\.extra"),
        (
            lambda s: s.update({"backbone.bu_conv2.conv.weight": torch.zeros(1)}),
            r"neck\.bu_conv2\.conv\.weight: the checkpoint holds \(1,\)",
        ),
    ],
)
def test_other_checkpoints_are_refused_by_name(change, message):
    state = _official_state(classes=80)
    change(state)
    model = Detector("s")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_official(model, state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_every_size_of_the_family_can_be_built():
    counts = []
    with torch.device("meta"):
        for size in SIZES:
            counts.append(parameters(Detector(size)))
    assert counts == sorted(counts)
