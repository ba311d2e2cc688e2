"""The trainer: it learns, it stops and goes on as if it had not, and it says what it can't do."""

import csv
import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from app.files.open import find_images
from app.settings import SettingsError, load_settings
from app.tile import scale_factor
from tests.app.make_toy_graphs import RESOURCES
from training import export
from training.cells import SegmenterSamples, with_predicted_boxes
from training.config import KINDS, Config, load_config
from training.data import load_labelled
from training.data import main as link_split
from training.models.detector import Detector
from training.models.segmenter import Segmenter
from training.samples import DetectorSamples
from training.tasks import DetectorTask, SegmenterTask, box_f1
from training.train import Trainer, learning_rate, main

SHIPPED = "training/configs/shipped.toml"


@pytest.fixture
def make_task(tiny_config, tiny_images):
    def make(kind):
        torch.manual_seed(7)
        return kind(stage_of(kind, tiny_config), tiny_config.method, *tiny_images)

    return make


def stage_of(kind, config):
    return config.detector if issubclass(kind, DetectorTask) else config.segmenter


class KilledError(Exception):
    pass


@pytest.mark.parametrize("kind", [DetectorTask, SegmenterTask])
def test_a_killed_run_goes_on_as_if_it_had_not_been(kind, make_task, tiny_config, tmp_path):
    method = tiny_config.method
    Trainer(make_task(kind), method, tmp_path / "whole").run()

    class Dies(kind):
        def loss(self, model, batch, step):
            if step == 2:
                raise KilledError
            return super().loss(model, batch, step)

    with pytest.raises(KilledError):
        Trainer(make_task(Dies), method, tmp_path / "killed").run()
    torch.manual_seed(99)  # the second process has another random state
    task = kind(stage_of(kind, tiny_config), method, *_images(make_task))
    Trainer(task, method, tmp_path / "killed").run()

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


def test_the_log_tells_seconds_a_step_and_the_share_of_waiting(make_task, tiny_config, tmp_path):
    class Slow(SegmenterTask):
        def collate(self, items):
            time.sleep(0.05)
            return super().collate(items)

        def validate(self, model):
            time.sleep(0.2)
            return super().validate(model)

    Trainer(make_task(Slow), tiny_config.method, tmp_path).run()
    with (tmp_path / "log.csv").open() as file:
        rows = [
            {key: float(value or "nan") for key, value in row.items()}
            for row in csv.DictReader(file)
        ]
    assert all(0.049 < row["seconds"] * row["waiting"] <= row["seconds"] for row in rows)
    # Validations count as hours only.
    assert sum(row["seconds"] for row in rows) + 2 * 0.2 < rows[-1]["hours"] * 3600


def test_every_epoch_ends_with_scores(make_task, tiny_config, tmp_path):
    config = dataclasses.replace(
        tiny_config.detector, steps=0, epochs=2, validation_steps=0, window_stride=0
    )
    train, val = _images(make_task)
    task = DetectorTask(config, tiny_config.method, train, val)
    epoch = task.samples.epoch_steps
    assert epoch == len(train) / config.batch
    Trainer(task, tiny_config.method, tmp_path).run()
    rows = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["rows"]
    assert len(rows) == 2 * epoch
    assert [row["step"] for row in rows if "mAP75" in row] == [epoch, 2 * epoch]


def test_the_detector_learns(make_task, tiny_config, tmp_path):
    detector = dataclasses.replace(
        tiny_config.detector,
        steps=80,
        batch=4,
        learning_rate=3e-3,
        checkpoint_steps=10,
        validation_steps=80,
        last_share=0.0,
    )
    task = DetectorTask(detector, tiny_config.method, *_images(make_task))
    Trainer(task, tiny_config.method, tmp_path).run()
    with (tmp_path / "log.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.85 * losses[0]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_segmenter_learns(make_task, tiny_config, tmp_path):
    segmenter = dataclasses.replace(
        tiny_config.segmenter, steps=30, batch=8, checkpoint_steps=5, validation_steps=30
    )
    task = SegmenterTask(segmenter, tiny_config.method, *_images(make_task))
    Trainer(task, tiny_config.method, tmp_path).run()
    rows = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["rows"]
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]
    assert rows[-1]["score"] > 0.6  # mean IoU of masks


@pytest.mark.parametrize("model", KINDS)
def test_command_line_to_weights(model, tiny_data, tiny_config, tmp_path, monkeypatch):
    stage = getattr(tiny_config, model)
    again = dataclasses.replace(stage, start="one")
    stages = {"one": stage, "two": again}
    config = Config(method=tiny_config.method, stages=stages, systems={}, teacher="")
    monkeypatch.setattr("training.train.load_config", lambda path: config)
    for name in config.stages:
        main([SHIPPED, name, str(tiny_data), str(tmp_path / "run")])
    loaded, note = export.load_model(tmp_path / "run" / "two" / "best.pt")
    assert type(loaded) is export.MODELS[model]
    assert "step 4 of 4" in note and "seed 1" in note and stage.size in note


def test_a_loss_that_is_not_finite_stops_the_run(make_task, tiny_config, tmp_path):
    class Diverges(SegmenterTask):
        def loss(self, model, batch, step):
            return {"loss": super().loss(model, batch, step)["loss"] * float("nan")}

    with pytest.raises(FloatingPointError, match=r"step 0.*disc\d.*lower the learning rate"):
        Trainer(make_task(Diverges), tiny_config.method, tmp_path).run()
    assert not (tmp_path / "checkpoint.pt").exists()


def test_learning_rate_rises_then_falls(tiny_config):
    config = dataclasses.replace(tiny_config.detector, steps=100, warmup_steps=10)
    rates = np.array([learning_rate(step, 100, config) for step in range(101)])
    assert rates.argmax() in (9, 10)
    assert rates.max() == pytest.approx(config.learning_rate)
    assert (np.diff(rates[:10]) > 0).all() and (np.diff(rates[10:]) < 0).all()
    assert rates[-1] == pytest.approx(config.learning_rate * config.final_learning_rate)


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
    models, method = _models(tiny_config), tiny_config.method
    with pytest.raises(SettingsError, match=r"settings\.json: can't be read"):
        export.write_weights({"detector": models["detector"]}, method, RESOURCES, tmp_path / "w")
    before = export.write_weights(models, method, RESOURCES, tmp_path / "w")
    another = _models(tiny_config)["detector"][0], "another"
    after = export.write_weights({"detector": another}, method, RESOURCES, tmp_path / "w")
    assert load_settings(tmp_path / "w") == after
    assert after.segmenter == before.segmenter
    assert after.detector["cpu"].trained == "another"
    assert after.detector["cpu"].sha256 != before.detector["cpu"].sha256


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


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("crop_size = 64", "crop_size = 64\ncolour = 1", "unknown key 'method.colour'"),
        ("mosaic = 0.4", "", "'stage.first.mosaic' is missing"),
        ("steps = 3500", 'steps = "many"', "'stage.segmenter.steps' is 'many'"),
        ("[segmenter]", "[segmentor]", "unknown key 'segmentor'"),
        ('start = "first"', 'start = "last"', "an earlier detector stage was wanted"),
        ("steps = 3500", "steps = 0", "steps or epochs must be 0, and not both"),
        ('model = "segmenter"', 'model = "oracle"', "model is 'oracle'"),
        ('"bfloat16"', '"half"', "stage.first.precision is 'half'; wanted bfloat16 or float32"),
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


def test_a_cell_has_the_box_of_the_detector_that_finds_it(tiny_images, tiny_config):
    image = tiny_images[0][0]
    method = dataclasses.replace(tiny_config.method, max_magnification=1.0)
    near, far = image.boxes[0] + 1, image.boxes[1] + 40
    found = [np.stack((near, far))[None], np.full((1, 2), 0.9, np.float32)]
    changed = with_predicted_boxes(image, lambda batch: found, method)
    np.testing.assert_allclose(changed.boxes[0], near)
    np.testing.assert_array_equal(changed.boxes[1:], image.boxes[1:])
    nothing = [np.zeros((1, 0, 4), np.float32), np.zeros((1, 0), np.float32)]
    assert with_predicted_boxes(image, lambda batch: nothing, method) is image


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
    sample = detector_samples.labelled.images[0]
    assert scale_factor(sample.label.shape, tiny_config.method) == 2.0
    detector_samples.config = dataclasses.replace(
        tiny_config.detector, scale=[1.0, 1.0], mosaic=0.0, rotation=0.0, crop=192
    )
    _, boxes, _ = detector_samples[0]
    sizes = (boxes[:, 2:] - boxes[:, :2]).amax(1)
    true = np.concatenate(
        [s.boxes[:, 2:] - s.boxes[:, :2] for s in detector_samples.labelled.images]
    )
    assert float(sizes.max()) <= 2 * true.max() + 1 and float(sizes.max()) > true.max()


def test_windows_are_drawn_once_an_epoch(tiny_images, tiny_config):
    config = dataclasses.replace(
        tiny_config.detector, window_stride=64, crop=96, steps=0, epochs=2, mosaic=0.0
    )
    samples = DetectorSamples(tiny_images[0], [], config, tiny_config.method)
    # 96 pixels, enlarged to 192, in windows of 96 that are 64 apart: 3 along each side.
    assert len(samples.windows) == 9 * len(tiny_images[0])
    assert samples.steps == 2 * len(samples.windows) / config.batch
    for epoch in range(2):
        start = epoch * len(samples.windows)
        names = [samples.names(start + n) for n in range(len(samples.windows))]
        assert all(len(name) == 1 for name in names)
        assert sorted(name[0] for name in names) == sorted(
            image.name for image in tiny_images[0] for _ in range(9)
        )


def test_mixup_shows_both_images_and_asks_for_both(tiny_images, tiny_config):
    config = dataclasses.replace(tiny_config.detector, mosaic=1.0, mixup=0.0, photometric=0.0)
    plain = DetectorSamples(tiny_images[0], [], config, tiny_config.method)
    mixed = DetectorSamples(
        tiny_images[0], [], dataclasses.replace(config, mixup=1.0), tiny_config.method
    )
    assert len(plain.names(0)) == 4 and len(mixed.names(0)) == 5
    assert len(mixed[0][1]) >= len(plain[0][1])
    last = plain.last_start * config.batch
    assert len(plain.names(last)) == len(mixed.names(last)) == 1


def test_the_longest_beginning_of_a_name_decides_how_often_it_is_drawn(tiny_images, tiny_config):
    factors = {"disc": 0.0, "disc1": 1.0, "disc2": 4.0}
    config = dataclasses.replace(tiny_config.segmenter, factors=factors)
    samples = SegmenterSamples(tiny_images[0], [], config, tiny_config.method)
    drawn = [samples.names(n)[0] for n in range(500)]
    assert set(drawn) == {"disc1", "disc2"}
    assert 370 < drawn.count("disc2") < 430


def test_pseudo_labelled_images_have_their_share(tiny_images, tiny_config):
    config = dataclasses.replace(tiny_config.segmenter, unlabelled=1 / 6)
    other = [dataclasses.replace(image, name="pseudo") for image in tiny_images[1]]
    samples = SegmenterSamples(tiny_images[0], other, config, tiny_config.method)
    drawn = [samples.names(n)[0] for n in range(600)]
    assert 70 < drawn.count("pseudo") < 130


def test_pseudo_labelled_images_have_their_share_among_windows(tiny_images, tiny_config):
    config = dataclasses.replace(
        tiny_config.detector, window_stride=64, unlabelled=1 / 6, mosaic=0.0
    )
    other = [dataclasses.replace(image, name="pseudo") for image in tiny_images[1]]
    samples = DetectorSamples(tiny_images[0], other, config, tiny_config.method)
    drawn = [samples.names(n)[0] for n in range(600)]
    assert 70 < drawn.count("pseudo") < 130


def test_an_epoch_without_windows_is_over_the_images(tiny_images, tiny_config):
    config = dataclasses.replace(tiny_config.detector, window_stride=0, steps=0, epochs=3)
    samples = DetectorSamples(tiny_images[0], [], config, tiny_config.method)
    assert samples.steps == 3 * len(tiny_images[0]) / config.batch


def test_a_batch_of_another_size_keeps_its_boxes(make_task):
    task = make_task(DetectorTask)
    task.config = dataclasses.replace(task.config, multi_scale=[0.5, 2.0])
    images = torch.zeros((1, 3, 96, 96))
    images[:, :, 24:48, 12:60] = 1.0
    sizes = set()
    for step in range(20):
        framed = [torch.tensor([[12.0, 24.0, 60.0, 48.0]])]
        scaled, (boxes,), (ignored,) = task._scaled(images, framed, framed, step)
        assert torch.equal(boxes, ignored)
        sizes.add(scaled.shape[-1])
        x0, y0, x1, y1 = boxes[0].tolist()
        assert scaled.sum() / 3 == pytest.approx((x1 - x0) * (y1 - y0), rel=0.1)
    assert sizes <= {64, 96, 128, 160, 192} and len(sizes) > 2


def test_the_papers_configuration_is_the_papers():
    config = load_config(Path("training/configs/paper.toml"))
    assert list(config.stages) == ["pretrain", "preliminary", "final", "segmenter"]
    final, segmenter = config.stages["final"], config.stages["segmenter"]
    assert final.start == "pretrain" and final.epochs == 15 and final.size == "x"
    assert final.validation_steps == 0  # after every epoch
    assert final.unlabelled == pytest.approx(1 / 6)
    assert final.learning_rate == pytest.approx(0.005 / 64 * final.batch)
    assert segmenter.learning_rate == pytest.approx(6e-5 / 16 * segmenter.batch)
    assert (config.method.window, final.crop, final.window_stride) == (1536, 1536, 768)


def test_a_file_that_extends_another_has_its_own_stages(tmp_path):
    text = f'extends = "{Path(SHIPPED).resolve()}"\n[segmenter]\nbatch = 8\n'
    text += '[stage.short]\nmodel = "segmenter"\nsteps = 7\nlearning_rate = 2e-3\n'
    (tmp_path / "short.toml").write_text(text)
    short, shipped = load_config(tmp_path / "short.toml"), load_config(Path(SHIPPED))
    assert short.method == shipped.method and list(short.stages) == ["short"]
    segmenter = dataclasses.replace(shipped.stages["segmenter"], batch=8, steps=7)
    assert short.stages["short"] == segmenter


def _images(make_task):
    task = make_task(SegmenterTask)
    train = task.samples.labelled.images
    return train, train


def _models(config):
    detector = export.ExportedDetector(Detector("nano"))
    segmenter = export.ExportedSegmenter(Segmenter("slim"), config.method.crop_size)
    return {"segmenter": (segmenter, "random"), "detector": (detector, "random")}
