"""The trainer: it learns, it stops and goes on as if it had not, and it says what it can't do."""

import csv
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.app.make_toy_graphs import RESOURCES
from training import averaged, export, trainer
from training.config import KINDS, Config
from training.errors import InputError
from training.optimiser import learning_rate
from training.tasks import DetectorTask, SegmenterTask, box_f1
from training.train import main
from training.trainer import Trainer

SHIPPED = "training/configs/shipped.toml"


@pytest.fixture
def make_task(tiny_config, tiny_images):
    def make(kind):
        torch.manual_seed(7)
        return kind(stage_of(kind, tiny_config), tiny_config.method, *tiny_images)

    return make


def stage_of(kind, config):
    return config.detector if issubclass(kind, DetectorTask) else config.segmenter


def _images(make_task):
    task = make_task(SegmenterTask)
    train = task.samples.labelled.images
    return train, train


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


def test_the_log_tells_seconds_a_step_and_the_share_of_waiting(
    make_task, tiny_config, tmp_path, monkeypatch
):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr("training.trainer.time", clock)

    class Slow(SegmenterTask):
        def collate(self, items):
            clock.now += 1
            return super().collate(items)

        def loss(self, *batch):
            clock.now += 3
            return super().loss(*batch)

        def validate(self, model):
            clock.now += 100
            return super().validate(model)

    Trainer(make_task(Slow), tiny_config.method, tmp_path).run()
    with (tmp_path / "log.csv").open() as file:
        rows = [
            {key: float(value or "nan") for key, value in row.items()}
            for row in csv.DictReader(file)
        ]
    assert len(rows) == 4
    assert all((row["seconds"], row["waiting"]) == (4, 0.25) for row in rows)
    # Validations, two of them, count as hours only.
    assert rows[-1]["hours"] == pytest.approx((4 * 4 + 2 * 100) / 3600, rel=0.01)


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
        rows = list(csv.DictReader(file))
    losses = [float(row["loss"]) for row in rows]
    assert losses[-1] < 0.85 * losses[0]
    assert all(0 < float(row["gradient"]) < float("inf") for row in rows)
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
    config = Config(
        method=tiny_config.method, resources=RESOURCES, stages=stages, systems={}, teacher=""
    )
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


def test_a_run_goes_on_with_its_own_numbers_alone(make_task, tiny_config, tmp_path):
    Trainer(make_task(SegmenterTask), tiny_config.method, tmp_path).run()
    images, stage = _images(make_task), stage_of(SegmenterTask, tiny_config)
    other = dataclasses.replace(stage, steps=stage.steps + 1, workers=0, checkpoint_steps=1)
    task = SegmenterTask(other, tiny_config.method, *images)
    longer = Trainer(task, tiny_config.method, tmp_path)
    assert longer.step == stage.steps < longer.steps
    changed = dataclasses.replace(stage, learning_rate=0.5)
    task = SegmenterTask(changed, tiny_config.method, *images)
    with pytest.raises(InputError, match=r"was begun with learning_rate .*, and now it is 0\.5; "):
        Trainer(task, tiny_config.method, tmp_path)


def test_cells_to_validate_on_are_wanted_before_training(make_task, tiny_config):
    train, val = _images(make_task)
    empty = [dataclasses.replace(image, ids=image.ids[:0]) for image in val]
    with pytest.raises(InputError, match="no image of split val has a cell in its label"):
        SegmenterTask(tiny_config.segmenter, tiny_config.method, train, empty)


def test_learning_rate_rises_then_falls(tiny_config):
    config = dataclasses.replace(tiny_config.detector, steps=100, warmup_steps=10)
    rates = np.array([learning_rate(step, 100, config) for step in range(101)])
    assert rates.argmax() in (9, 10)
    assert rates.max() == pytest.approx(config.learning_rate)
    assert (np.diff(rates[:10]) > 0).all() and (np.diff(rates[10:]) < 0).all()
    assert rates[-1] == pytest.approx(config.learning_rate * config.final_learning_rate)


def test_box_f1_in_closed_form():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32)
    nothing = np.zeros((0, 4), np.float32)
    assert box_f1(boxes, boxes) == 1.0
    assert box_f1(boxes, boxes[:1]) == pytest.approx(2 / 3)
    assert box_f1(boxes + 6, boxes) == 0.0
    assert box_f1(nothing, boxes) == 0.0
    assert box_f1(nothing, nothing) == 1.0


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


def test_without_git_a_run_names_no_version(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert trainer._commit() == ""


def test_a_run_that_was_cut_short_has_averaged_weights(make_task, tiny_config, tmp_path, capsys):
    config = dataclasses.replace(tiny_config.segmenter, steps=4, validation_steps=4)
    task = SegmenterTask(config, tiny_config.method, *_images(make_task))
    Trainer(task, tiny_config.method, tmp_path).run()
    wanted = torch.load(tmp_path / "best.pt", weights_only=True)  # of the last step, too
    torch.save({"weights": {}}, tmp_path / "best.pt")
    assert averaged.main([str(tmp_path)]) == 0
    assert "averaged weights of step 4 of 4" in capsys.readouterr().out
    found = torch.load(tmp_path / "best.pt", weights_only=True)
    assert all(torch.equal(found["weights"][name], w) for name, w in wanted["weights"].items())
    assert found["weights"].keys() == wanted["weights"].keys()
    assert all(found[key] == wanted[key] for key in ("model", "stage", "step", "steps", "commit"))
    assert found.keys() <= wanted.keys()
    Trainer(task, tiny_config.method, tmp_path)  # and can still be resumed
