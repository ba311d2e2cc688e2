"""Graphs of fewer bits: which parts become that, and what they say. For the detector of the shipped
weights see test_samples.py; an untrained one blows up every difference."""

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from app.settings import graph_path, load_settings
from tests.conftest import SHIPPED
from training.config import load_config
from training.data import load_labelled
from training.detector import Detector
from training.export import ExportedDetector, ExportedSegmenter, write_weights
from training.quantise import cells, main
from training.segmenter import Segmenter

METHOD = dataclasses.replace(load_config(SHIPPED).method, window=192, stride=128)
ROLES = ("detector", "segmenter")


@pytest.fixture(scope="module")
def images(tiny_data):
    return load_labelled(tiny_data, "val", METHOD)


@pytest.fixture(scope="module")
def weights(tmp_path_factory, tiny_data):
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("weights")
    detector, segmenter = awake(Detector("nano")), awake(Segmenter("slimmer"))
    head = detector.head
    for last in (*head.reg_preds, *head.obj_preds, *head.cls_preds):  # moderate ones
        nn.init.normal_(last.weight, std=0.01)
    models = {
        "detector": (ExportedDetector(detector), ""),
        "segmenter": (ExportedSegmenter(segmenter, METHOD.crop_size), "a note"),
    }
    write_weights(models, METHOD, folder)
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


def run(weights, role, machine, batch):
    path = graph_path(weights, getattr(load_settings(weights), role), machine)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: batch})


def test_the_settings_name_them_by_machine(weights):
    settings = load_settings(weights)
    for role in ROLES:
        graphs = getattr(settings, role)
        assert list(graphs) == ["cpu", "vnni", "cuda"] and graphs["cpu"].file == f"{role}.onnx"
        assert graph_path(weights, graphs, "vnni").name == f"{role}_int8.onnx"
        assert graph_path(weights, graphs, "cuda").name == f"{role}_fp16.onnx"
    assert settings.segmenter["vnni"].trained == (
        "8-bit integers, by 3 images of split train; a note"
    )
    assert settings.segmenter["cuda"].trained == "16-bit floats; a note"
    assert [getattr(settings, name) for name in vars(METHOD)] == list(vars(METHOD).values())


@pytest.mark.parametrize(("machine", "tolerance"), [("vnni", 0.02), ("cuda", 0.0005)])
def test_a_segmenter_says_nearly_the_same(weights, images, machine, tolerance):
    for image in images:
        batch = cells(image, METHOD)
        floats, fewer = (run(weights, "segmenter", m, batch)[0] for m in ("cpu", machine))
        assert np.ptp(floats) > 0.2  # of something that is not all the same
        assert 0 < np.abs(floats - fewer).mean() < tolerance


@pytest.mark.parametrize("role", ROLES)
def test_halves_have_half_the_size(role, weights):
    sizes = [(weights / f"{role}{end}.onnx").stat().st_size for end in ("", "_fp16")]
    assert sizes[1] < 0.7 * sizes[0]


@pytest.mark.parametrize("role", ROLES)
def test_what_follows_the_last_convolutions_stays_in_floats(role, weights):
    graph = onnx.load(weights / f"{role}_int8.onnx").graph
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
