"""Crops of cells, shown as another microscope might have shown them."""

import dataclasses

import cv2
import numpy as np
import pytest

from tests.training.conftest import CHAIN, SHIPPED
from training.cells import cell_crop, varied_crop
from training.report.samples_picture import main

OFF = {"photometric": 0.0, "limits": 0.0, "composites": 0.0, "artefacts": 0.0}


def both(sample, n, box, config, method):
    rng = np.random.default_rng(n)
    return varied_crop(rng, sample, n, box, config, method), cell_crop(sample, n, box, method)


def test_unchanged_they_are_those_of_prediction(tiny_images, tiny_config):
    config = dataclasses.replace(tiny_config.segmenter, **OFF)
    for sample in tiny_images[0]:
        for n, box in enumerate(sample.boxes):
            (image, mask), (wanted, true) = both(sample, n, box, config, tiny_config.method)
            np.testing.assert_array_equal(mask, true)
            assert np.abs(image.astype(int) - wanted).max() <= 1


def test_large_boxes_are_shrunk_before_without_moving(tiny_images, tiny_config, monkeypatch):
    monkeypatch.setattr("training.cells._MAX_SIDE", 64)
    config = dataclasses.replace(tiny_config.segmenter, **OFF)
    sample = tiny_images[0][0]
    height, width = sample.label.shape
    box = np.array([3, 1, width - 2, height], np.float32)
    (image, mask), (wanted, true) = both(sample, 0, box, config, tiny_config.method)
    np.testing.assert_array_equal(mask, true)
    assert np.corrcoef(image.ravel(), wanted.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("seed", range(6))
def test_varied_they_differ_and_the_mask_stays(seed, tiny_images, tiny_config):
    everything = {"photometric": 1.0, "limits": 1.0, "composites": 1.0, "artefacts": 1.0}
    config = dataclasses.replace(tiny_config.segmenter, **everything)
    sample = dataclasses.replace(tiny_images[0][0], modality="Fluo")
    n = seed % len(sample.ids)
    rng = np.random.default_rng(seed)
    image, mask = varied_crop(rng, sample, n, sample.boxes[n], config, tiny_config.method)
    wanted, true = cell_crop(sample, n, sample.boxes[n], tiny_config.method)
    np.testing.assert_array_equal(mask, true)
    assert image.shape == wanted.shape and image.dtype == np.uint8
    assert np.abs(image.astype(int) - wanted).mean() > 3


def test_they_can_be_drawn_with_their_outlines(tiny_data, tmp_path):
    picture = tmp_path / "cells.png"
    options = ["--count", "4", "--columns", "2", "--side", "80"]
    assert main([str(CHAIN), "segmenter", str(tiny_data), str(picture), *options]) == 0
    drawn = cv2.imread(str(picture))
    assert drawn.shape == (164, 164, 3)
    mixed = [str(SHIPPED), "wide", str(tiny_data), str(picture), *options]  # with unlabelled images
    assert main(mixed) == 0
    green = (drawn == (0, 230, 0)).all(2)
    assert all(green[y : y + 82, x : x + 82].sum() > 40 for y in (0, 82) for x in (0, 82))
