"""Exported graphs: they do as their models, or nothing is written."""

import shutil

import pytest
import torch
from torch import nn

from app.settings import SettingsError, graph_path, load_settings
from tests.app.make_toy_graphs import RESOURCES
from training import export
from training.models.detector import Detector
from training.models.segmenter import Segmenter


def _models(config):
    detector = export.ExportedDetector(Detector("nano"))
    segmenter = export.ExportedSegmenter(Segmenter("slimmer"), config.method.crop_size)
    return {"segmenter": (segmenter, "random"), "detector": (detector, "random")}


def test_export_writes_weights_that_load(tiny_config, tmp_path):
    torch.manual_seed(3)
    settings = export.write_weights(
        _models(tiny_config), tiny_config.method, RESOURCES, tmp_path / "w"
    )
    assert load_settings(tmp_path / "w") == settings
    assert sorted(p.name for p in (tmp_path / "w").iterdir()) == [
        "detector.onnx",
        "segmenter.onnx",
        "settings.json",
    ]


def test_export_of_one_model_keeps_the_other_ones_graph(tiny_config, tmp_path):
    method = tiny_config.method
    one = {"segmenter": (_models(tiny_config)["segmenter"][0], "another")}
    with pytest.raises(SettingsError, match=r"settings\.json: can't be read"):
        export.write_weights(one, method, RESOURCES, tmp_path / "w")
    shutil.copytree("tests/app/toy_weights", tmp_path / "w", dirs_exist_ok=True)
    before = load_settings(tmp_path / "w")
    after = export.write_weights(one, method, RESOURCES, tmp_path / "w")
    assert load_settings(tmp_path / "w") == after
    assert after.detector == before.detector and after.method == method
    assert graph_path(tmp_path / "w", after.detector, "cpu").name == "detector.onnx"
    assert after.segmenter["cpu"].trained == "another"
    assert after.segmenter["cpu"].sha256 != before.segmenter["cpu"].sha256


def test_export_fails_where_the_graph_disagrees(tiny_config, tmp_path, monkeypatch):
    models = _models(tiny_config)

    def export_another(model, path):
        real(model, path)
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.01)

    real = export.export
    monkeypatch.setattr(export, "export", export_another)
    with pytest.raises(ValueError, match="differ by"):
        export.write_weights(models, tiny_config.method, RESOURCES, tmp_path / "w")
    assert list((tmp_path / "w").iterdir()) == []
