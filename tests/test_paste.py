"""Masks to label images: against the slow twin, and there and back again."""

import dataclasses

import numpy as np
import pytest

from app.paste import paste, relabel
from app.segment import crop, round_boxes, segment, uncrop
from tests.make_toy_graphs import METHOD
from tests.slow_twins import slow_paste


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_slow_twin(seed):
    rng = np.random.default_rng(seed)
    shape = (23, 31)
    start = rng.integers(0, [25, 17], (9, 2))
    boxes = np.concatenate((start, start + rng.integers(1, 7, (9, 2))), 1)
    masks = [rng.random((y1 - y0, x1 - x0)) < 0.6 for x0, y0, x1, y1 in boxes]
    least = int(rng.integers(0, 9))
    label = relabel(paste(masks, boxes, shape), len(boxes), least)
    np.testing.assert_array_equal(label, slow_paste(masks, boxes, shape, least))
    assert label.dtype == np.uint16


def test_nothing_to_paste_is_background():
    label = relabel(paste([], np.zeros((0, 4), np.int64), (5, 7)), 0, 1)
    assert label.shape == (5, 7) and label.dtype == np.uint16 and not label.any()


def test_more_than_65535_cells_need_32_bits():
    count = 2**16
    boxes = np.array([[x, y, x + 1, y + 1] for y in range(256) for x in range(256)])
    masks = [np.ones((1, 1), bool)] * count
    label = relabel(paste(masks, boxes, (256, 256)), count, 1)
    assert label.dtype == np.uint32 and label.max() == count
    fewer = relabel(paste(masks[1:], boxes[1:], (256, 256)), count - 1, 1)
    assert fewer.dtype == np.uint16 and fewer.max() == count - 1


def test_round_boxes_stay_inside_and_hold_a_pixel():
    boxes = np.array(
        [[-3, -2, 4.4, 5.6], [9.5, 9.5, 9.6, 9.6], [18.2, 8.2, 40, 40], [25, 25, 30, 30]],
        np.float32,
    )
    rounded = round_boxes(boxes, (10, 20))
    np.testing.assert_array_equal(
        rounded, [[0, 0, 4, 6], [10, 9, 11, 10], [18, 8, 20, 10], [19, 9, 20, 10]]
    )
    assert round_boxes(np.zeros((0, 4), np.float32), (10, 20)).shape == (0, 4)


@pytest.mark.parametrize("side", [5, 16, 61])
def test_a_crop_of_any_size_comes_back(side):
    # A half plane survives the way to 16 x 16 and back to within its blurred rim.
    image = np.zeros((side, side, 3), np.uint8)
    image[:, side // 2 :] = 255
    small = crop(image, np.array([0, 0, side, side]), 16)
    assert small.shape == (16, 16, 3)
    back = uncrop(small[:, :, 0].astype(np.float32) / 255, (side, side)) > 0.5
    assert (back != (image[:, :, 0] > 127)).mean() <= 1 / side


def test_shrinking_averages():
    # One pixel in each 4 x 4 is bright, and not a middle one: looking at middles would see none.
    image = np.zeros((64, 64, 3), np.uint8)
    image[::4, ::4] = 240
    np.testing.assert_array_equal(crop(image, np.array([0, 0, 64, 64]), 16), 15)


def test_an_axis_that_shrinks_is_averaged_while_the_other_grows():
    lines = np.zeros((20, 640, 3), np.uint8)
    lines[:, 5::10] = 240
    np.testing.assert_array_equal(crop(lines, np.array([0, 0, 640, 20]), 64), 24)
    turned = np.ascontiguousarray(lines.swapaxes(0, 1))
    np.testing.assert_array_equal(crop(turned, np.array([0, 0, 20, 640]), 64), 24)


def test_a_crop_is_of_its_box_alone_and_leaves_the_image_alone():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    kept = image.copy()
    small = crop(image, np.array([10, 5, 26, 21]), 16)
    np.testing.assert_array_equal(small, image[5:21, 10:26])
    small[:] = 0
    np.testing.assert_array_equal(image, kept)


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_perfect_boxes_and_masks_give_the_true_label_image(batch):
    rng = np.random.default_rng(5)
    truth = np.zeros((120, 150), np.uint16)
    boxes = []
    for row in range(4):
        for column in range(5):
            high, wide = rng.integers(6, 28, 2)
            y, x = 30 * row + 1, 30 * column + 1
            truth[y : y + high, x : x + wide] = len(boxes) + 1
            boxes.append((x, y, x + wide, y + high))
    image = np.repeat((truth > 0)[:, :, None] * np.uint8(255), 3, 2)
    sizes = []

    def bright(crops):
        sizes.append(len(crops))
        return [crops.mean(3).astype(np.float32) / 255]

    rounded = round_boxes(np.array(boxes, np.float32), truth.shape)
    masks = segment(image, rounded, bright, dataclasses.replace(METHOD, crop_batch=batch))
    label = relabel(paste(masks, rounded, truth.shape), len(boxes), 1)
    np.testing.assert_array_equal(label, truth)
    assert sum(sizes) == len(boxes) and max(sizes) <= batch


def test_a_probability_of_just_the_threshold_is_no_cell():
    boxes = np.array([[0, 0, 9, 30]])
    image = np.zeros((30, 30, 3), np.uint8)
    for probability, cell in ((0.5, False), (0.51, True)):
        maps = np.full((1, 16, 16), probability, np.float32)
        (mask,) = segment(image, boxes, lambda _crops, maps=maps: [maps], METHOD)
        assert mask.shape == (30, 9) and (mask == cell).all()
