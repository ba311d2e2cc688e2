"""Augmentation moves image, labels and boxes together, or not at all."""

import dataclasses

import numpy as np
import pytest

from tests.training.tiny_dataset import discs
from training.augment.geometry import jitter_box, label_boxes, random_affine, warp
from training.augment.photometry import photometric


@pytest.mark.parametrize("rotation", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_image_and_label_move_together(seed, rotation):
    rng = np.random.default_rng(seed)
    _, label = discs(rng, 5)
    # An image that is bright just where the label is: after any move it must still be.
    image = np.repeat((label > 0)[:, :, None] * np.uint8(255), 3, 2)
    affine = random_affine(rng, (50.0, 40.0), rng.uniform(0.7, 2.0), rotation, (80, 120))
    moved, moved_label = warp(image, label, affine, (80, 120), fill=0)
    assert moved.shape == (80, 120, 3) and moved_label.shape == (80, 120)
    differ = (moved[:, :, 0] > 127) != (moved_label > 0)
    # Bilinear and nearest neighbour part ways at the rim alone.
    assert differ.sum() < 0.1 * (moved_label > 0).sum() + 20
    ids = set(np.unique(moved_label)) - {0}
    assert ids and ids <= set(np.unique(label))


@pytest.mark.parametrize("seed", range(6))
def test_a_moved_point_lands_where_the_affine_says(seed):
    rng = np.random.default_rng(seed)
    affine = random_affine(rng, (30.0, 20.0), 1.5, 1.0, (64, 64))
    np.testing.assert_allclose(affine @ [30.0, 20.0, 1.0], [31.5, 31.5], atol=1e-9)
    assert abs(np.linalg.det(affine[:, :2])) == pytest.approx(1.5**2)


def test_right_angles_and_flips_are_exact():
    label = np.arange(1, 65, dtype=np.uint16).reshape(8, 8)
    image = np.repeat(label.astype(np.uint8)[:, :, None], 3, 2)
    seen = set()
    for seed in range(60):
        affine = random_affine(np.random.default_rng(seed), (3.5, 3.5), 1.0, 0.0, (8, 8))
        moved, moved_label = warp(image, label, affine, (8, 8), fill=0)
        np.testing.assert_array_equal(moved[:, :, 0], moved_label)
        assert sorted(moved_label.ravel()) == sorted(label.ravel())
        seen.add(moved_label.tobytes())
    assert len(seen) == 8


def test_boxes_are_tight_and_slivers_are_left_out():
    label = np.zeros((20, 30), np.uint16)
    label[2:6, 3:9] = 4
    label[10:12, 28:30] = 9
    boxes, ids = label_boxes(label)
    np.testing.assert_array_equal(boxes, [[3, 2, 9, 6], [28, 10, 30, 12]])
    np.testing.assert_array_equal(ids, [4, 9])
    areas = np.zeros(10)
    areas[4], areas[9] = 24, 24  # of number 9 a sixth is left
    boxes, ids = label_boxes(label, areas)
    np.testing.assert_array_equal(ids, [4])
    assert label_boxes(np.zeros((5, 5), np.uint16))[0].shape == (0, 4)


def test_jitter_stays_within_its_range_and_zero_is_the_identity():
    rng = np.random.default_rng(0)
    box = np.array([10.0, 20.0, 30.0, 60.0], np.float32)
    np.testing.assert_allclose(jitter_box(rng, box, max_share=0.0), box)
    moved = np.stack([jitter_box(rng, box) for _ in range(500)])
    half = np.array([10.0, 20.0, 10.0, 20.0])
    assert (np.abs(moved - box) <= 0.2 * half + 1e-4).all()
    assert (np.abs(moved - box).max(0) > 0.15 * half).all()


@pytest.mark.parametrize("seed", range(20))
def test_photometric_changes_no_place(seed):
    rng = np.random.default_rng(seed)
    image = np.full((64, 64, 3), 60, np.uint8)
    image[:, 32:] = 200
    changed = photometric(rng, image)
    assert changed.shape == image.shape and changed.dtype == np.uint8
    left, right = (changed[:, half].mean() for half in (np.s_[:28], np.s_[36:]))
    assert abs(left - right) > 20
    profile = changed.mean((0, 2))
    assert abs(int(np.argmax(np.abs(np.diff(profile)))) - 31) <= 1


def test_a_sample_is_a_function_of_its_seed(detector_samples):
    first, again = detector_samples[3], detector_samples[3]
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    other = detector_samples[4]
    assert not np.array_equal(first[0], other[0])


def test_training_boxes_frame_the_bright_discs(detector_samples):
    config = dataclasses.replace(detector_samples.config, photometric=0.0)
    detector_samples.config = config
    checked = 0
    for index in range(12):
        image, boxes, _ = detector_samples[index]
        for x0, y0, x1, y1 in boxes.int().tolist():
            inside = image[:, y0:y1, x0:x1].float()
            if min(x1 - x0, y1 - y0) > 6:
                # A disc fills most of its box and is brighter than what surrounds it.
                assert inside.mean() > 100
                checked += 1
    assert checked > 10
