"""Graphs of fewer bits: which parts become that, and what they say. For the detector of the shipped
weights see test_samples.py; an untrained one blows up every difference."""

import dataclasses
import shutil
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from app.files.open import read_image
from app.look import Wanted
from app.predict import Predictor
from app.settings import graph_path, load_settings
from tests.app.make_toy_graphs import RESOURCES
from tests.training.conftest import SHIPPED
from training.config import load_config
from training.data import load_labelled
from training.export import ExportedDetector, ExportedSegmenter, runner, write_weights
from training.half_floats import widen
from training.look import show
from training.models.detector import Detector
from training.models.segmenter import Segmenter
from training.quantise import cells, main, middle, some_images, store

METHOD = dataclasses.replace(load_config(SHIPPED).method, window=192, stride=128)
ROLES = ("detector", "segmenter")
ONNX: list[str] = []  # the graphs of integers, as they were before they were stored


@pytest.fixture(scope="module")
def images(tiny_data):
    return load_labelled(tiny_data, "val", METHOD)


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(3)
    detector, segmenter = awake(Detector("nano")), awake(Segmenter("slimmer"))
    head = detector.head
    for last in (*head.reg_preds, *head.obj_preds, *head.cls_preds):  # moderate ones
        nn.init.normal_(last.weight, std=0.01)
    return {
        "detector": (ExportedDetector(detector), "another"),
        "segmenter": (ExportedSegmenter(segmenter, METHOD.crop_size), "a note"),
    }


@pytest.fixture(scope="module")
def weights(tmp_path_factory, tiny_data, models):
    folder = tmp_path_factory.mktemp("weights")
    write_weights(models, METHOD, RESOURCES, folder)
    quantised = iter([tmp_path_factory.mktemp("onnx") / f"{role}.onnx" for role in ROLES])

    def keep(source, target):
        ONNX.append(shutil.copy(source, next(quantised)))
        store(source, target)

    with patch("training.quantise.store", keep):
        assert main([str(folder), str(tiny_data)]) == 0
    return folder


def awake(model: nn.Module) -> nn.Module:
    """A model whose batch norms know what they see, so that its maps are neither 0 nor huge."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model(255 * torch.rand(8, 3, 192, 192))
    return model


def run(weights, role, processor, batch):
    path = graph_path(weights, getattr(load_settings(weights), role), processor)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: batch})


def test_the_settings_name_them_by_processor(weights):
    settings = load_settings(weights)
    assert list(settings.detector) == ["cpu", "vnni"]
    assert list(settings.segmenter) == ["cpu", "vnni", "cuda"]
    names = {
        "detector": ("detector_fp16.onnx", "detector_int8.ort", "detector_fp16.onnx"),
        "segmenter": ("segmenter.onnx", "segmenter_int8.ort", "segmenter_fp16.onnx"),
    }
    for role in ROLES:
        graphs = getattr(settings, role)
        found = [
            graph_path(weights, graphs, processor).name for processor in ("cpu", "vnni", "cuda")
        ]
        assert tuple(found) == names[role]
    assert not (weights / "detector.onnx").exists()
    assert settings.segmenter["vnni"].trained == (
        "8-bit integers, by 3 images of split train; a note"
    )
    assert settings.segmenter["cuda"].trained == "16-bit floats; a note"
    assert settings.detector["cpu"].trained == "16-bit floats; another"
    assert settings.method == METHOD


def test_graphs_of_16_bits_are_quantised_as_well(weights, tiny_data, tmp_path):
    again = shutil.copytree(weights, tmp_path / "weights")
    assert main([str(again), str(tiny_data)]) == 0
    before, after = load_settings(weights), load_settings(again)
    assert after.detector["cpu"] == before.detector["cpu"]
    assert after.detector["vnni"].trained == before.detector["vnni"].trained
    batch = np.random.default_rng(0).integers(0, 256, (1, 192, 192, 3), np.uint8)
    first, second = (run(folder, "detector", "vnni", batch)[0] for folder in (weights, again))
    # An untrained model blows up single differences.
    assert np.abs(first - second).mean() < 0.005 * np.ptp(first)


def test_what_fails_half_way_changes_nothing(weights, tiny_data, tmp_path):
    again = Path(shutil.copytree(weights, tmp_path / "weights"))
    before = {path.name: path.read_bytes() for path in again.iterdir()}

    def fail_on_second(source, target, done=[]):  # noqa: B006
        if done:
            raise OSError("no space left")
        done.append(store(source, target))

    with patch("training.quantise.store", fail_on_second), pytest.raises(SystemExit):
        main([str(again), str(tiny_data)])
    assert {path.name: path.read_bytes() for path in again.iterdir()} == before


def test_boxes_are_not_rounded_to_16_bits(models, weights):
    """Far from the corner 16 bits would leave half pixels."""
    batch = np.random.default_rng(1).integers(0, 256, (1, 192, 1536, 3), np.uint8)
    boxes = run(weights, "detector", "cpu", batch)[0]
    far = boxes[boxes > 1024]
    assert (far != far.astype(np.float16)).mean() > 0.9
    assert np.median(np.abs(boxes - runner(models["detector"][0])(batch)[0])) < 0.2


@pytest.mark.parametrize("role", ROLES)
def test_floats_of_32_bits_again_say_the_same(role, weights, tmp_path):
    halves, wide = weights / f"{role}_fp16.onnx", tmp_path / "wide.onnx"
    widen(halves, wide)
    kinds = {tensor.data_type for tensor in onnx.load(wide).graph.initializer}
    assert onnx.TensorProto.FLOAT16 not in kinds
    batch = np.random.default_rng(2).integers(0, 256, (2, 64, 64, 3), np.uint8)
    found, wanted = (
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for path in (wide, halves)
    )
    for one, other in zip(
        *(graph.run(None, {graph.get_inputs()[0].name: batch}) for graph in (found, wanted)),
        strict=True,
    ):
        assert np.abs(one - other).mean() < 0.002 * np.ptp(other)


@pytest.mark.parametrize(("processor", "tolerance"), [("vnni", 0.02), ("cuda", 0.0005)])
def test_a_segmenter_says_nearly_the_same(weights, images, processor, tolerance):
    for image in images:
        batch = cells(image, METHOD)
        floats, fewer = (run(weights, "segmenter", m, batch)[0] for m in ("cpu", processor))
        assert np.ptp(floats) > 0.2  # of something that is not all the same
        assert 0 < np.abs(floats - fewer).mean() < tolerance


def test_calibration_shows_images_as_prediction_does(shrinking_weights, tiny_data):
    predictor = Predictor(shrinking_weights, "cpu", 1, Wanted(percentiles=(20.0, 80.0)))
    shown = some_images(tiny_data, predictor)
    assert len(shown) == 3
    for image, magnification in shown:
        assert magnification == 0.5
        raw = np.atleast_3d(read_image(tiny_data / "Train_Labeled/images" / f"{image.name}.png"))
        np.testing.assert_array_equal(image.image, show(raw, predictor)[0][:, :])
        assert middle(image, magnification, predictor.method).shape == (1, 64, 64, 3)


@pytest.mark.parametrize("role", ROLES)
def test_halves_have_half_the_size(role, weights, tmp_path):
    halves, wide = weights / f"{role}_fp16.onnx", tmp_path / "wide.onnx"
    widen(halves, wide)
    assert halves.stat().st_size < 0.7 * wide.stat().st_size


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.usefixtures("weights")
def test_what_follows_the_last_convolutions_stays_in_floats(number):
    graph = onnx.load(ONNX[number]).graph
    makers = {name: node for node in graph.node for name in node.output}
    left, seen = [output.name for output in graph.output], set()
    while left:
        node = makers.get(left.pop())
        if node is not None and node.name not in seen:
            seen.add(node.name)
            assert node.op_type not in {"QuantizeLinear", "DequantizeLinear"}, node.name
            left += [] if node.op_type == "Conv" else node.input
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    by_integers = [n for n in convolutions if makers[n.input[0]].op_type == "DequantizeLinear"]
    assert len(by_integers) == len(convolutions) > 10
