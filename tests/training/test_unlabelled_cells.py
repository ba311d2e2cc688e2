"""What a teacher is sure of and no label agrees with is neither cell nor background."""

import dataclasses
import json

import numpy as np

from app.files.open import read_image
from app.predict import Predictor
from tests.app.make_toy_graphs import BOXES
from training.augment.geometry import random_affine
from training.augment.scene import render
from training.data import load_image
from training.ignored import with_ignored, without_label
from training.layout import image_path, read_split
from training.look import find, show
from training.prepare.unlabelled_cells import main
from training.samples import DetectorSamples


def test_boxes_that_labels_explain_are_left_out():
    label = np.zeros((96, 96), np.uint16)
    label[10:30, 10:30] = 1
    labelled = np.array([[10, 10, 30, 30]], np.float32)
    found = [
        [12, 12, 30, 30],  # the labelled cell
        [14, 14, 22, 22],  # a part of it
        [50, 50, 70, 70],  # no label
        [25, 25, 60, 60],  # touches the cell
        [-3, 80, 10, 99],  # past the edge
    ]
    left = without_label(np.array(found, np.float32), labelled, label)
    np.testing.assert_array_equal(left, np.array(found[2:], np.float32))
    assert without_label(np.zeros((0, 4), np.float32), labelled, label).shape == (0, 4)


def test_the_teacher_sees_images_in_the_look_that_prediction_chooses(
    shrinking_weights, tiny_data, tmp_path
):
    rows = read_split(tiny_data, "train")
    method = Predictor(shrinking_weights, "cpu", 1).method
    wanted = {}
    for row in rows:
        image = load_image(tiny_data, row, method)
        good = 2 * BOXES[0, :2]  # the third box scores too low
        left = without_label(good, image.boxes, image.label)
        if len(left):
            wanted[row["name"]] = left.tolist()
    assert 0 < sum(map(len, wanted.values())) <= 2 * len(rows)
    output = tmp_path / "out.json"
    assert main([str(shrinking_weights), str(tiny_data), str(output), "--sources", "discs"]) == 0
    found = json.loads(output.read_text())
    assert found.keys() == wanted.keys()
    for name, boxes in found.items():
        assert sorted(boxes) == sorted(wanted[name])


def test_what_is_found_is_in_pixels_of_the_image(shrinking_weights, tiny_data):
    predictor = Predictor(shrinking_weights, "cpu", 1)
    raw = np.atleast_3d(read_image(image_path(tiny_data, read_split(tiny_data, "val")[0])))
    image, boxes, scores = find(raw, predictor, predictor.method)
    np.testing.assert_array_equal(image, show(raw, predictor)[0][:, :])
    np.testing.assert_allclose(boxes, 2 * BOXES[0, :2])
    np.testing.assert_allclose(scores, [0.9, 0.8])
    noise = np.random.default_rng(1).normal(1000, 30, (300, 300, 1)).astype(np.uint16)
    image, boxes, scores = find(noise, predictor, predictor.method)
    assert image.shape == (300, 300, 3) and not image.any()
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_ignored_boxes_are_read_and_move_with_the_crop(tiny_images, tiny_config, tmp_path):
    path = tmp_path / "ignored.json"
    path.write_text(json.dumps({"disc1": [[10.0, 20.0, 30.0, 50.0]]}))
    images = with_ignored(tiny_images[0], path)
    assert [len(image.ignored) for image in images] == [int(i.name == "disc1") for i in images]
    sample = next(image for image in images if len(image.ignored))
    rng = np.random.default_rng(0)
    affine = random_affine(rng, (20.0, 35.0), 1.0, 0.0, (64, 64))
    scene = render(rng, sample, affine, (64, 64), tiny_config.detector, 114)
    (box,) = scene.ignored
    assert sorted((box[2] - box[0], box[3] - box[1])) == [20, 30]
    np.testing.assert_allclose((box[:2] + box[2:]) / 2, [32, 32], atol=1)

    whole = dataclasses.replace(sample, ignored=np.array([[0, 0, 96, 96]], np.float32))
    config = dataclasses.replace(tiny_config.detector, mosaic=1.0)
    samples = DetectorSamples([whole], [], config, tiny_config.method)
    assert all(len(samples[n][2]) == 4 for n in range(3))  # mosaics are of four crops


def test_a_run_takes_its_ignored_boxes(tiny_data, tiny_config, tmp_path):
    from training.train import make_task

    (tmp_path / "ignored.json").write_text(json.dumps({"disc0": [[1.0, 2.0, 9.0, 9.0]]}))
    stage = dataclasses.replace(tiny_config.detector, ignored="ignored.json")
    task = make_task(stage, tiny_config.method, tiny_data, tmp_path)
    found = {image.name: len(image.ignored) for image in task.samples.labelled.images}
    assert found == {"disc0": 1, "disc1": 0, "disc2": 0, "disc3": 0}
