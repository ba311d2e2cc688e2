"""Settings travel with the weights, and weights that don't fit are refused."""

import json
import shutil

import pytest

from app.settings import SettingsError, load_settings
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
        (
            {"segmenter": {"file": 3, "sha256": "", "trained": ""}},
            "'segmenter.file' is 3; str was wanted",
        ),
        (
            {"segmenter": {"file": "", "sha256": "", "trained": "", "size": 1}},
            "unknown key 'segmenter.size'",
        ),
        ({"window": "large"}, "'window' is 'large'; .*int"),
        ({"window": 1.5}, "'window' is 1.5; .*int"),
        ({"crop_size": True}, "'crop_size' is True"),
        ({"stride": 40}, "'stride' is 40; a multiple of 'granularity', 32, below 'window', 64"),
        ({"stride": 64}, "'stride' is 64; a multiple of 'granularity', 32, below 'window', 64"),
        ({"detector": {"file": "detector.onnx"}}, "'detector.sha256' is missing"),
        (
            {"detector": {"file": "gone.onnx", "sha256": "0", "trained": ""}},
            r"gone\.onnx: can't be read",
        ),
        (
            {"detector": {"file": "detector.onnx", "sha256": "0" * 64, "trained": ""}},
            r"detector\.onnx: its SHA-256 is \w{64}, but the settings name 0{64}",
        ),
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


def test_a_changed_graph_is_refused(weights):
    with (weights / "segmenter.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(SettingsError, match=r"segmenter\.onnx: its SHA-256"):
        load_settings(weights)
