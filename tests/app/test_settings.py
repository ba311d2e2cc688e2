"""Settings travel with the weights, and weights that don't fit are refused."""

import dataclasses
import functools
import hashlib
import json
import shutil
from typing import get_args

import pytest

from app.processor import Processor
from app.settings import SettingsError, graph_path, load_settings
from tests.app.make_toy_graphs import METHOD, RESOURCES

TOY = "tests/app/toy_weights"


@pytest.fixture
def weights(tmp_path):
    shutil.copytree(TOY, tmp_path / "w")
    return tmp_path / "w"


def change(weights, values) -> None:
    """Set values by their paths; None removes one."""
    path = weights / "settings.json"
    settings = json.loads(path.read_text())
    for name, value in values.items():
        *above, key = name.split(".")
        table = functools.reduce(dict.__getitem__, above, settings)
        table[key] = value
        if value is None:
            del table[key]
    path.write_text(json.dumps(settings))


def test_the_toy_settings_are_what_they_were_made_from(weights):
    settings = load_settings(weights)
    assert (settings.method, settings.resources) == (METHOD, RESOURCES)
    with pytest.raises(AttributeError):
        settings.method.window = 3  # frozen


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colour": 1}, "unknown key 'colour'"),
        ({"method.colour": 1}, r"unknown key 'method\.colour'"),
        ({"method.window": None}, r"'method\.window' is missing"),
        ({"resources.crop_batch": None}, r"'resources\.crop_batch' is missing"),
        ({"method": 3}, "'method' is 3; an object was wanted"),
        ({"detector": None}, r"settings\.json: key 'detector' is missing"),
        ({"detector": "detector.onnx"}, "'detector' is 'detector.onnx'; an object was wanted"),
        ({"detector": {}}, r"'detector\.cpu' is missing"),
        (
            {"detector": {"cpu": {}, "gpu": {}}},
            r"unknown key 'detector\.gpu'; wanted cpu, vnni, cuda",
        ),
        ({"detector": {"cpu": 3}}, r"'detector\.cpu' is 3; an object was wanted"),
        ({"detector": {"cpu": {"file": "a"}}}, r"'detector\.cpu\.sha256' is missing"),
        (
            {"segmenter": {"cpu": {"file": 3, "sha256": "", "trained": ""}}},
            r"'segmenter\.cpu\.file' is 3; str was wanted",
        ),
        (
            {"segmenter": {"cpu": {"file": "", "sha256": "", "trained": "", "size": 1}}},
            r"unknown key 'segmenter\.cpu\.size'",
        ),
        ({"method.window": "large"}, r"'method\.window' is 'large'; int was wanted"),
        ({"method.window": 1.5}, r"'method\.window' is 1.5; int was wanted"),
        ({"method.crop_size": True}, r"'method\.crop_size' is True; int was wanted"),
        ({"method.crop_size": 0}, r"'method\.crop_size' is 0; a number from 1 or more was wanted"),
        ({"method.nms_iou": 7}, r"'method\.nms_iou' is 7; a number from 0\.01 to 1 was wanted"),
        ({"method.nms_iou": 0}, r"'method\.nms_iou' is 0; a number from 0\.01 to 1 was wanted"),
        ({"method.nms_iou": float("nan")}, r"'method\.nms_iou' is nan; a number from 0\.01 to"),
        ({"method.high_percentile": 100.5}, "is 100.5; a number from 0 to 100 was wanted"),
        ({"method.low_percentile": 99}, "is 99; less than 'high_percentile', 99.0, was wanted"),
        ({"method.magnifications": 2}, r"'method\.magnifications' is 2; list was wanted"),
        ({"method.magnifications": [0.5, "2"]}, "is '2'; float was wanted"),
        ({"method.magnifications": [0.5, 0]}, "is 0; a number from 0.0625 to 16 was wanted"),
        ({"resources.gpu_memory": -1}, r"'resources\.gpu_memory' is -1; a number from 1 or more"),
        ({"method.stride": 40}, "is 40; a multiple of 'granularity', 32, below 'window', 64"),
        ({"method.stride": 64}, "is 64; a multiple of 'granularity', 32, below 'window', 64"),
    ],
)
def test_wrong_settings_are_refused(values, message, weights):
    change(weights, values)
    with pytest.raises(SettingsError, match=message):
        load_settings(weights)


def test_whole_numbers_do_for_fractions(weights):
    change(weights, {"method.low_percentile": 2})
    assert load_settings(weights).method.low_percentile == 2


@pytest.mark.parametrize("content", ["{", "[1]", "3"])
def test_a_file_that_holds_no_settings_is_refused(content, weights):
    (weights / "settings.json").write_text(content)
    with pytest.raises(SettingsError, match=r"settings\.json"):
        load_settings(weights)


def test_a_folder_without_settings_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"settings\.json: can't be read"):
        load_settings(tmp_path)


def test_a_processor_without_a_graph_of_its_own_takes_that_for_the_cpu(weights):
    settings = load_settings(weights)
    (weights / "whole.onnx").write_bytes(b"numbers")
    digest = hashlib.sha256(b"numbers").hexdigest()
    whole = dataclasses.replace(settings.detector["cpu"], file="whole.onnx", sha256=digest)
    graphs = {**settings.detector, "vnni": whole}
    found = {p: graph_path(weights, graphs, p).name for p in get_args(Processor)}
    assert found == {"cpu": "detector.onnx", "vnni": "whole.onnx", "cuda": "detector.onnx"}


def test_a_graph_that_is_not_there_is_refused(weights):
    settings = load_settings(weights)
    (weights / "detector.onnx").unlink()
    with pytest.raises(SettingsError, match=r"detector\.onnx: can't be read"):
        graph_path(weights, settings.detector, "cpu")


def test_a_changed_graph_is_refused(weights):
    settings = load_settings(weights)
    with (weights / "segmenter.onnx").open("ab") as file:
        file.write(b"x")
    wanted = settings.segmenter["cpu"].sha256
    message = rf"segmenter\.onnx: its SHA-256 is \w{{64}}, but the settings name {wanted}; restore"
    with pytest.raises(SettingsError, match=message):
        graph_path(weights, settings.segmenter, "cpu")
