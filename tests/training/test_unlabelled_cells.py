"""What a teacher is sure of and no label agrees with is neither cell nor background."""

import dataclasses
import json

import numpy as np

from training.augment.geometry import random_affine
from training.augment.scene import render
from training.prepare.unlabelled_cells import with_ignored, without_label
from training.samples import DetectorSamples


def test_boxes_that_labels_explain_are_left_out(tiny_images):
    image = tiny_images[0][0]
    label = np.zeros_like(image.label)
    label[10:30, 10:30] = 1
    image = dataclasses.replace(
        image, label=label, boxes=np.array([[10, 10, 30, 30]], np.float32), ids=np.array([1])
    )
    found = [
        [12, 12, 30, 30],  # the labelled cell
        [14, 14, 22, 22],  # a part of it
        [50, 50, 70, 70],  # no label
        [25, 25, 60, 60],  # touches the cell
        [-3, 80, 10, 99],  # past the edge
    ]
    left = without_label(np.array(found, np.float32), image)
    np.testing.assert_array_equal(left, np.array(found[2:], np.float32))
    assert without_label(np.zeros((0, 4), np.float32), image).shape == (0, 4)


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
