"""Thresholds chosen by F1: the trial path is the predictor's, and the best value is found."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from app.files.open import read_image
from app.predict import Predictor, predict
from app.settings import load_settings
from tests.app.make_toy_graphs import METHOD
from training.choose import (
    VALUES,
    Candidates,
    best_iou,
    calibration,
    candidates,
    choose,
    main,
    mean_f1,
    outline,
)
from training.layout import read_split

TOY = Path("tests/app/toy_weights")


@pytest.fixture
def ghosts():
    """Nine cells with high scores, nine boxes of nothing with low ones."""
    truth = np.zeros((100, 100), np.uint32)
    boxes = np.array(
        [(x, y, x + 10, y + 10) for y in range(10, 70, 10) for x in (10, 40, 70)], np.int64
    )
    for number, (x0, y0, x1, y1) in enumerate(boxes[::2], start=1):
        truth[y0:y1, x0:x1] = number
    scores = np.where(np.arange(len(boxes)) % 2, 0.37, 0.72).astype(np.float32)
    order = np.argsort(-scores, kind="stable")
    full = np.full((len(boxes), 16, 16), 255, np.uint8)
    boxes = boxes[order]
    exact = boxes.astype(np.float32)
    return Candidates("val", "blood", "BF", truth, boxes, exact, scores[order], full)


# With the second each image is shown at half its size: the toy boxes, as sure at any size, cover
# more there.
@pytest.mark.parametrize("look_pixels", [0, 10**6])
def test_the_trial_path_is_the_predictors(tiny_data, look_pixels):
    predictor = Predictor(TOY, "cpu", 1)
    method = dataclasses.replace(
        predictor.method, window=128, stride=96, look_pixels=look_pixels, magnifications=[0.5]
    )
    predictor.method = method
    found = 0
    for row in read_split(tiny_data, "val"):
        image = np.atleast_3d(read_image(tiny_data / "Train_Labeled" / "images" / row["image"]))
        wanted = predict(image, predictor.detector, predictor.segmenter, method)
        assert (wanted.choice.look == wanted.choice.usual) == (not look_pixels)
        label, which = outline(candidates(tiny_data, row, predictor), method)
        np.testing.assert_array_equal(label, wanted.labels[:, :])
        assert len(which) == wanted.labels.count
        found += len(which)
    assert found


def test_an_image_of_noise_has_no_candidates(tmp_path):
    for part in ("images", "labels"):
        (tmp_path / "Train_Labeled" / part).mkdir(parents=True)
    noise = np.random.default_rng(1).normal(1000, 30, (300, 300)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "Train_Labeled" / "images" / "noise.tiff", noise)
    nothing = np.zeros(noise.shape, np.uint16)
    tifffile.imwrite(tmp_path / "Train_Labeled" / "labels" / "noise_label.tiff", nothing)
    group = {"split": "probe", "source": "none", "modality": "Fluo"}
    row = {"name": "noise", "image": "noise.tiff", **group}
    found = candidates(tmp_path, row, Predictor(TOY, "cpu", 1))
    assert (found.split, found.source, found.modality) == ("probe", "none", "Fluo")
    assert found.boxes.shape == (0, 4) and found.probabilities.shape == (0, 16, 16)
    label, which = outline(found, METHOD)
    assert label.shape == noise.shape and not label.any() and not len(which)


def test_the_best_threshold_is_found(ghosts):
    method = dataclasses.replace(METHOD, score_threshold=0.25)
    assert mean_f1([ghosts], method)["judged"] == pytest.approx(2 / 3)
    chosen, tried = choose([ghosts], method)
    assert chosen.score_threshold == 0.4  # the first of the best
    perfect = {"judged": 1.0, "images": 1.0, "sources": 1.0, "BF": 1.0}
    assert mean_f1([ghosts], chosen) == perfect
    assert {row["setting"] for row in tried} == set(VALUES)


def test_sources_that_nobody_has_seen_count_too(ghosts):
    """What a threshold gains on many images of one source it loses on two other sources."""
    val, faint = [ghosts] * 4, dataclasses.replace(ghosts, split="probe", scores=ghosts.scores / 2)
    everything = [*val, *(dataclasses.replace(faint, source=name) for name in "ab")]
    method = dataclasses.replace(METHOD, score_threshold=0.25)
    assert choose(val, method)[0].score_threshold == 0.4
    assert choose(everything, method)[0] == method
    f1 = mean_f1(everything, method)
    assert f1["BF"] == f1["images"] == pytest.approx(2 / 3)  # of val alone
    assert f1["sources"] == pytest.approx((2 / 3 + 1 + 1) / 3)


def test_what_is_as_good_stays(ghosts):
    method = dataclasses.replace(METHOD, score_threshold=0.6)
    chosen, _ = choose([ghosts], method)
    assert chosen == method


def test_the_calibration_in_closed_form(ghosts):
    method = dataclasses.replace(METHOD, score_threshold=0.25)
    low, high = calibration([ghosts], method)
    assert low == {"from": 0.3, "instances": 9, "score": pytest.approx(0.37), "right": 0.0}
    assert high == {"from": 0.7, "instances": 9, "score": pytest.approx(0.72), "right": 1.0}


def test_best_iou_in_closed_form():
    truth, label = np.zeros((2, 10, 10), np.uint32)
    truth[:5], truth[5:] = 3, 1
    label[:6], label[8:, :5] = 1, 2
    np.testing.assert_allclose(best_iou(truth, label), [50 / 60, 10 / 50])
    assert best_iou(truth, np.zeros_like(label)).size == 0


def test_weights_that_find_nothing_have_no_thresholds(tiny_data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("training.choose._MIN_SCORE", 1.0)  # no box is above it
    with pytest.raises(SystemExit) as stopped:
        main([str(TOY), str(tiny_data), str(tmp_path / "report")])
    assert stopped.value.code == 2
    assert "toy_weights: find no cell in these images" in capsys.readouterr().err


def test_the_settings_are_written(tiny_data, tmp_path, capsys):
    weights = tmp_path / "weights"
    shutil.copytree(TOY, weights)
    before = json.loads((weights / "settings.json").read_text())
    command = [str(weights), str(tiny_data), str(tmp_path / "report")]
    assert main(command) == 0
    assert json.loads((weights / "settings.json").read_text()) == before
    assert main([*command, "--write"]) == 0
    after = load_settings(weights)  # still whole
    assert dataclasses.asdict(after).keys() == before.keys()
    assert f"score_threshold: {before['method']['score_threshold']} -> " in capsys.readouterr().out
    with (tmp_path / "report" / "choose.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * sum(len(v) for v in VALUES.values())
    assert (tmp_path / "report" / "choose.png").read_bytes().startswith(b"\x89PNG")
