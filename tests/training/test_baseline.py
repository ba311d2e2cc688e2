"""The three-class baseline: classes and back, in windows as in one."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from tests.training.tiny_dataset import discs
from training.metric import score_image
from training.models.baseline import (
    BOUNDARY,
    CLASSES,
    INTERIOR,
    BaselineTask,
    class_loss,
    instances,
    outline,
    to_classes,
)
from training.trainer import Trainer


class Reads(nn.Module):
    """Classes that are written in the image: 0, 100 and 200."""

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        grey = images[:, 0] / 100
        return (torch.stack([-(grey - c).abs() for c in range(CLASSES)], 1),)


@pytest.mark.parametrize("seed", range(5))
def test_instances_come_back_from_their_classes(seed):
    _, label = discs(np.random.default_rng(seed), 6)
    found = instances(to_classes(label))
    (score,) = score_image(label, found, [0.9])
    assert score.f1 == 1.0


def test_touching_cells_stay_apart():
    label = np.zeros((40, 60), np.uint16)
    label[10:30, 10:30], label[10:30, 30:50] = 1, 2
    classes = to_classes(label)
    assert (classes[15:25, 28:32] == BOUNDARY).all() and classes[20, 20] == INTERIOR
    found = instances(classes)
    wrong = found != label  # only sharp corners are lost: three pixels at each of eight
    assert wrong.sum() == 24 and not found[wrong].any()


@pytest.mark.parametrize("shape", [(96, 96), (300, 420)])
def test_windows_show_what_the_whole_image_does(shape, tiny_config):
    rng = np.random.default_rng(0)
    label = np.zeros(shape, np.uint16)
    for number in range(1, 30):
        x, y = int(rng.integers(0, shape[1])), int(rng.integers(0, shape[0]))
        cv2.ellipse(label, (x, y), (12, 7), int(rng.integers(180)), 0, 360, number, -1)
    written = (100 * to_classes(label)).astype(np.uint8)
    image = np.repeat(written[:, :, None], 3, 2)
    method = dataclasses.replace(tiny_config.method, max_magnification=1.0, min_area=1)
    labels = outline(image, Reads(), method)
    np.testing.assert_array_equal(labels[:, :], instances(to_classes(label)))


def test_a_small_image_comes_back_in_its_own_size(tiny_config):
    _, label = discs(np.random.default_rng(1), 5)
    shown = np.kron(label, np.ones((2, 2), np.uint16))  # as large as the baseline sees it

    class Knows(Reads):
        def forward(self, images):
            classes = torch.from_numpy(to_classes(shown))[None, None].float()
            return super().forward(100 * classes)

    labels = outline(np.zeros((*label.shape, 3), np.uint8), Knows(), tiny_config.method)
    assert labels.shape == label.shape
    assert score_image(label, labels[:, :], [0.8])[0].f1 == 1.0


def test_the_loss_in_closed_form():
    classes = torch.tensor([[[0, 1], [2, 0]]])
    certain = 50.0 * nn.functional.one_hot(classes, CLASSES).permute(0, 3, 1, 2)
    assert float(class_loss(certain, classes)) == pytest.approx(0.0, abs=1e-6)
    even = torch.zeros((1, CLASSES, 2, 2))
    # A third of 4 pixels each; 2, 1 and 1 pixels are wanted.
    dice = [(2 * n / 3 + 1) / (n + 4 / 3 + 1) for n in (2, 1, 1)]
    wanted = np.log(3) + 1 - np.mean(dice)
    assert float(class_loss(even, classes)) == pytest.approx(wanted, rel=1e-6)


def test_the_baseline_learns(tiny_config, tiny_images, tmp_path):
    config = dataclasses.replace(
        tiny_config.baseline, steps=60, batch=4, crop=96, validation_steps=60, learning_rate=5e-3
    )
    torch.manual_seed(1)
    task = BaselineTask(config, tiny_config.method, *tiny_images)
    Trainer(task, tiny_config.method, tmp_path).run()
    rows = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["rows"]
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    assert rows[-1]["score"] > 0.5  # F1
