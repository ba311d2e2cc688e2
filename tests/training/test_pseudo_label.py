"""Pseudo-labels: by the look that prediction chooses, and a folder to train on."""

import csv
import dataclasses
from pathlib import Path

import cv2
import numpy as np
import tifffile

from app.predict import Predictor
from tests.app.make_toy_graphs import METHOD
from tests.training.tiny_dataset import discs
from training.data import load_labelled
from training.layout import IMAGES, LABELS
from training.look import show
from training.prepare.pseudo_label import label_image, main
from training.views import VIEWS

TOY = Path("tests/app/toy_weights")


def test_the_folder_can_be_trained_on(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    image = np.full((48, 56), 20, np.uint8)
    image[2:18, 2:22] = image[6:32, 22:42] = 220
    cv2.imwrite(str(tmp_path / "in" / "one.two.png"), image)
    cv2.imwrite(str(tmp_path / "in" / "black.png"), np.zeros((48, 56), np.uint8))
    (tmp_path / "in" / "text.png").write_text("no image")
    assert main([str(TOY), str(tmp_path / "in"), str(tmp_path / "out"), "--min-score", "0"]) == 1
    assert "text.png" in capsys.readouterr().err
    with (tmp_path / "out" / "metadata.csv").open() as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert "one-0" in names
    samples = load_labelled(tmp_path / "out", "train", METHOD)
    assert [sample.name for sample in samples] == names
    labels = tmp_path / "out" / "Train_Labeled" / "labels"
    assert tifffile.imread(labels / "one-0_label.tiff").shape == (48, 56)


def test_labels_are_made_in_the_look_that_prediction_chooses(tmp_path, monkeypatch):
    """The toy boxes are as sure at any size, so those of a shrunk image cover more and are kept."""
    for part in (IMAGES, LABELS):
        (tmp_path / part).mkdir(parents=True)
    image, _ = discs(np.random.default_rng(0), 5)
    cv2.imwrite(str(tmp_path / "one.png"), image)
    predictor = Predictor(TOY, "cpu", 1)
    predictor.method = dataclasses.replace(
        predictor.method, window=128, stride=96, look_pixels=10**6, magnifications=[0.5]
    )
    shown, look = show(image[:, :, None], predictor)
    assert look.magnification == 0.5
    sizes = []
    run = predictor.detector
    monkeypatch.setattr(
        predictor, "detector", lambda batch: sizes.append(batch.shape) or run(batch)
    )
    assert label_image(tmp_path / "one.png", tmp_path, predictor, 0.0)
    assert {batch[1:3] for batch in sizes[-VIEWS:]} == {(64, 64)}
    written = cv2.imread(str(tmp_path / IMAGES / "one-0.png"))[:, :, ::-1]
    np.testing.assert_array_equal(written, shown[:, :])


def test_an_image_of_noise_gets_no_label(tmp_path):
    noise = np.random.default_rng(1).normal(1000, 30, (300, 300)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "noise.tiff", noise)
    assert not label_image(tmp_path / "noise.tiff", tmp_path, Predictor(TOY, "cpu", 1), 0.0)
