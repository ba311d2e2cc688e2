"""Settings travel with the weights, and weights that don't fit are refused."""

import dataclasses
import hashlib
import json
import shutil
from typing import get_args

import pytest

from app.settings import Machine, SettingsError, graph_path, load_settings
from tests.make_toy_graphs import METHOD

TOY = "tests/toy_weights"


@pytest.fixture
def weights(tmp_path):
    shutil.copytree(TOY, tmp_path / "w")
    return tmp_path / "w"


def change(weights, **values) -> None:
    path = weights / "settings.json"
    settings = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))


def test_the_toy_settings_are_what_they_were_made_from(weights):
    settings = load_settings(weights)
    for name, value in vars(METHOD).items():
        assert getattr(settings, name) == value
    with pytest.raises(AttributeError):
        settings.window = 3  # frozen


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colour": 1}, "unknown key 'colour'"),
        ({"window": None}, "'window' is missing"),
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
        ({"window": "large"}, "'window' is 'large'; .*int"),
        ({"window": 1.5}, "'window' is 1.5; .*int"),
        ({"crop_size": True}, "'crop_size' is True"),
        ({"stride": 40}, "'stride' is 40; a multiple of 'granularity', 32, below 'window', 64"),
        ({"stride": 64}, "'stride' is 64; a multiple of 'granularity', 32, below 'window', 64"),
    ],
)
def test_wrong_settings_are_refused(values, message, weights):
    change(weights, **values)
    with pytest.raises(SettingsError, match=message):
        load_settings(weights)


def test_whole_numbers_do_for_fractions(weights):
    change(weights, low_percentile=2)
    assert load_settings(weights).low_percentile == 2


@pytest.mark.parametrize("content", ["{", "[1]", "3"])
def test_a_file_that_holds_no_settings_is_refused(content, weights):
    (weights / "settings.json").write_text(content)
    with pytest.raises(SettingsError, match=r"settings\.json"):
        load_settings(weights)


def test_a_folder_without_settings_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"settings\.json: can't be read"):
        load_settings(tmp_path)


def test_a_machine_without_a_graph_of_its_own_takes_that_for_the_cpu(weights):
    settings = load_settings(weights)
    (weights / "whole.onnx").write_bytes(b"numbers")
    digest = hashlib.sha256(b"numbers").hexdigest()
    whole = dataclasses.replace(settings.detector["cpu"], file="whole.onnx", sha256=digest)
    graphs = {**settings.detector, "vnni": whole}
    found = {machine: graph_path(weights, graphs, machine).name for machine in get_args(Machine)}
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
