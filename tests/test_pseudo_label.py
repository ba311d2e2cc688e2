"""Pseudo-labels: eight views that come back, boxes that they agree on, a folder to train on."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from app.views import VIEWS
from tests.make_toy_graphs import METHOD
from training.data import load_labelled
from training.pseudo_label import fuse_views, main

TOY = Path("tests/toy_weights")


def test_what_all_views_find_scores_high_and_what_one_finds_low():
    image = np.zeros((64, 64, 3), np.uint8)
    image[10:22, 30:50] = 200
    calls = []

    def run(batch):
        calls.append(batch.shape)
        bright = (batch[0, :, :, 0] > 100).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(bright)
        boxes = [(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:]]
        scores = [0.9] * len(boxes)
        if len(calls) == 3:  # one view sees a ghost
            boxes, scores = [*boxes, (2, 2, 9, 9)], [*scores, 0.9]
        return [np.array([boxes], np.float32), np.array([scores], np.float32)]

    boxes, scores = fuse_views(image, run, METHOD, 0.5)
    np.testing.assert_allclose(boxes, [[30, 10, 50, 22]], atol=1e-4)
    assert scores.tolist() == pytest.approx([0.9])
    assert len(calls) == VIEWS


def test_the_folder_can_be_trained_on(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    image = np.full((48, 56), 20, np.uint8)
    image[2:18, 2:22] = image[6:32, 22:42] = 220
    cv2.imwrite(str(tmp_path / "in" / "one.two.png"), image)
    cv2.imwrite(str(tmp_path / "in" / "black.png"), np.zeros((48, 56), np.uint8))
    (tmp_path / "in" / "text.png").write_text("no image")
    assert main([str(TOY), str(tmp_path / "in"), str(tmp_path / "out"), "--least-score", "0"]) == 1
    assert "text.png" in capsys.readouterr().err
    with (tmp_path / "out" / "metadata.csv").open() as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert "one-0" in names
    samples = load_labelled(tmp_path / "out", "train", METHOD)
    assert [sample.name for sample in samples] == names
    labels = tmp_path / "out" / "Train_Labeled" / "labels"
    assert tifffile.imread(labels / "one-0_label.tiff").shape == (48, 56)
