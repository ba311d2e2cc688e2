"""The trainer: it learns, it stops and goes on as if it had not, and it says what it can't do."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from app.read import find_images
from app.settings import SettingsError, load_settings
from app.tile import scale_factor
from training import export
from training.config import load_config
from training.data import load_labelled
from training.data import main as link_split
from training.detector import Detector
from training.segmenter import Segmenter
from training.tasks import DetectorTask, SegmenterTask, box_f1
from training.train import TASKS, Trainer, learning_rate, main

SHIPPED = "training/configs/shipped.toml"


@pytest.fixture
def make_task(tiny_config, tiny_images):
    def make(kind):
        torch.manual_seed(7)
        return kind(tiny_config, *tiny_images)

    return make


class KilledError(Exception):
    pass


@pytest.mark.parametrize("kind", [DetectorTask, SegmenterTask])
def test_a_killed_run_goes_on_as_if_it_had_not_been(kind, make_task, tiny_config, tmp_path):
    Trainer(make_task(kind), tiny_config, tmp_path / "whole").run()

    class Dies(kind):
        def loss(self, model, batch, step):
            if step == 2:
                raise KilledError
            return super().loss(model, batch, step)

    with pytest.raises(KilledError):
        Trainer(make_task(Dies), tiny_config, tmp_path / "killed").run()
    torch.manual_seed(99)  # the second process has another random state
    Trainer(kind(tiny_config, *_images(make_task)), tiny_config, tmp_path / "killed").run()

    whole, killed = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)
        for name in ("whole", "killed")
    )
    assert whole["step"] == killed["step"] == tiny_config.detector.steps
    for part in ("weights", "averaged"):
        for name, value in whole[part].items():
            assert torch.equal(value, killed[part][name]), name
    losses = [[row["loss"] for row in state["rows"]] for state in (whole, killed)]
    assert losses[0] == losses[1]


def test_the_detector_learns(make_task, tiny_config, tmp_path):
    detector = dataclasses.replace(
        tiny_config.detector,
        steps=80,
        batch=4,
        learning_rate=3e-3,
        checkpoint_steps=10,
        validation_steps=80,
        last_steps=0,
    )
    config = dataclasses.replace(tiny_config, detector=detector)
    task = DetectorTask(config, *_images(make_task))
    Trainer(task, config, tmp_path).run()
    with (tmp_path / "log.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.85 * losses[0]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_segmenter_learns(make_task, tiny_config, tmp_path):
    segmenter = dataclasses.replace(
        tiny_config.segmenter, steps=30, batch=8, checkpoint_steps=5, validation_steps=30
    )
    config = dataclasses.replace(tiny_config, segmenter=segmenter)
    task = SegmenterTask(config, *_images(make_task))
    Trainer(task, config, tmp_path).run()
    rows = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["rows"]
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]
    assert rows[-1]["score"] > 0.6  # mean IoU of masks


@pytest.mark.parametrize("model", TASKS)
def test_command_line_to_weights(model, tiny_data, tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr("training.train.load_config", lambda path: tiny_config)
    main([model, SHIPPED, str(tiny_data), str(tmp_path / "run")])
    load = {"detector": export.load_detector, "segmenter": export.load_segmenter}[model]
    loaded, note = load(tmp_path / "run" / "best.pt")
    assert isinstance(loaded, Detector | Segmenter)
    assert "seed 1" in note and getattr(tiny_config, model).size in note


def test_a_loss_that_is_not_finite_stops_the_run(make_task, tiny_config, tmp_path):
    class Diverges(SegmenterTask):
        def loss(self, model, batch, step):
            return {"loss": super().loss(model, batch, step)["loss"] * float("nan")}

    with pytest.raises(FloatingPointError, match=r"step 0.*lower the learning rate"):
        Trainer(make_task(Diverges), tiny_config, tmp_path).run()
    assert not (tmp_path / "checkpoint.pt").exists()


def test_learning_rate_rises_then_falls(tiny_config):
    config = dataclasses.replace(tiny_config.detector, steps=100, warmup_steps=10)
    rates = np.array([learning_rate(step, config) for step in range(101)])
    assert rates.argmax() in (9, 10)
    assert rates.max() == pytest.approx(config.learning_rate)
    assert (np.diff(rates[:10]) > 0).all() and (np.diff(rates[10:]) < 0).all()
    assert rates[-1] == pytest.approx(config.learning_rate * config.final_learning_rate)


def test_export_writes_weights_that_load(tiny_config, tmp_path):
    torch.manual_seed(3)
    settings = export.write_weights(_models(tiny_config), tiny_config.method, tmp_path / "w")
    assert load_settings(tmp_path / "w") == settings
    assert sorted(p.name for p in (tmp_path / "w").iterdir()) == [
        "detector.onnx",
        "segmenter.onnx",
        "settings.json",
    ]


def test_export_fails_where_the_graph_disagrees(tiny_config, tmp_path, monkeypatch):
    models = _models(tiny_config)

    def export_another(model, path):
        real(model, path)
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.01)

    real = export.export
    monkeypatch.setattr(export, "export", export_another)
    with pytest.raises(ValueError, match="differ by"):
        export.write_weights(models, tiny_config.method, tmp_path / "w")
    assert list((tmp_path / "w").iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("crop_batch = 64", "crop_batch = 64\ncolour = 1", "unknown key 'colour'"),
        ("mosaic = 0.4", "", "'mosaic' is missing"),
        ("steps = 3500", 'steps = "many"', "'steps' is 'many'"),
        ("[segmenter]", "[segmentor]", "unknown key 'segmentor'"),
    ],
)
def test_wrong_configurations_are_refused(old, new, message, tmp_path):
    text = Path(SHIPPED).read_text()
    assert old in text
    (tmp_path / "wrong.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(SettingsError, match=message):
        load_config(tmp_path / "wrong.toml")


def test_labels_of_another_size_are_refused(tiny_data, tiny_config, monkeypatch):
    wrong = np.zeros((7, 7), np.uint16)
    monkeypatch.setattr("training.data.tifffile.imread", lambda path: wrong)
    with pytest.raises(ValueError, match=r"disc\d\.png: image is .*label is \(7, 7\)"):
        load_labelled(tiny_data, "train", tiny_config.method)


def test_a_split_that_is_not_there_is_refused(tiny_data, tiny_config):
    with pytest.raises(ValueError, match="no image of split test"):
        load_labelled(tiny_data, "test", tiny_config.method)


def test_a_split_is_linked_into_a_folder(tiny_data, tmp_path):
    assert link_split([str(tiny_data), "val", str(tmp_path / "val")]) == 0
    names = sorted(path.name for path in (tmp_path / "val").iterdir())
    assert names == [f"disc{number}.png" for number in range(4, 8)]
    assert find_images(tmp_path / "val")[0].read_bytes().startswith(b"\x89PNG")


def test_box_f1_in_closed_form():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32)
    nothing = np.zeros((0, 4), np.float32)
    assert box_f1(boxes, boxes) == 1.0
    assert box_f1(boxes, boxes[:1]) == pytest.approx(2 / 3)
    assert box_f1(boxes + 6, boxes) == 0.0
    assert box_f1(nothing, boxes) == 0.0
    assert box_f1(nothing, nothing) == 1.0


def test_a_training_crop_has_the_scale_of_prediction(detector_samples, tiny_config):
    # 96 pixels in a window of 192: prediction enlarges by 2, and so must training.
    sample = detector_samples.samples.images[0]
    assert scale_factor(sample.label.shape, tiny_config.method) == 2.0
    detector_samples.config = dataclasses.replace(
        tiny_config.detector, scale=[1.0, 1.0], mosaic=0.0, rotation=0.0, crop=192
    )
    _, boxes = detector_samples[0]
    sizes = (boxes[:, 2:] - boxes[:, :2]).amax(1)
    true = np.concatenate(
        [s.boxes[:, 2:] - s.boxes[:, :2] for s in detector_samples.samples.images]
    )
    assert float(sizes.max()) <= 2 * true.max() + 1 and float(sizes.max()) > true.max()


def _images(make_task):
    task = make_task(SegmenterTask)
    train = task.samples.samples.images
    return train, train


def _models(config):
    detector = export.ExportedDetector(Detector("nano"))
    segmenter = export.ExportedSegmenter(Segmenter("slim"), config.method.crop_size)
    return {"segmenter": (segmenter, "random"), "detector": (detector, "random")}
