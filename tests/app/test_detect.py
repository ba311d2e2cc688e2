"""Detection: boxes in pixels of the image, at any magnification, in batches and within memory."""

import dataclasses

import numpy as np
import pytest

from app.detect import BOX_BYTES, detect
from tests.app.perfect_detectors import (
    LARGE,
    SMALL,
    bright_squares,
    by_place,
    paint,
    scatter,
    see,
    see_each,
    squares,
    true_boxes,
)


def test_boxes_return_to_the_frame_of_the_image():
    # Enlarged twice, found there, and sized back.
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 30:50] = 255

    def bright(batch):
        y, x = np.nonzero(batch[0, :, :, 0] > 127)
        inside = (y < 80) & (x < 120)  # not the padding
        y, x = y[inside], x[inside]
        box = [[x.min(), y.min(), x.max() + 1, y.max() + 1]]
        return [np.array([box], np.float32), np.array([[0.9]], np.float32)]

    boxes, _ = detect(image, bright, dataclasses.replace(LARGE, pad_value=0))
    np.testing.assert_allclose(boxes, [[30, 10, 50, 20]], atol=0.51)


@pytest.mark.parametrize("magnification", [0.35, 0.5, 0.7, 0.98, 1.4, 1.96, 2.8])
@pytest.mark.parametrize("shape", [(50, 80), (300, 500), (1100, 1250)])
def test_boxes_are_in_pixels_of_the_image_at_any_magnification(shape, magnification):
    # In a single window, and in several, of which the last may be larger.
    method = dataclasses.replace(LARGE, window=512, stride=384, pad_value=0)
    label = scatter(np.random.default_rng(3), shape, (14, 40), 90, gap=8)
    boxes, _ = detect(squares(label), bright_squares, method, magnification=magnification)
    wanted = by_place(true_boxes(label))
    assert len(boxes) == len(wanted)
    # To a pixel and a half of those that the detector sees, and no worse far from the origin.
    off = np.abs(boxes[:, None] - wanted[None]).max(2)
    assert off.min(1).max() < 0.75 + 0.75 / magnification
    assert sorted(off.argmin(1)) == list(range(len(wanted)))
    assert (boxes >= 0).all() and (boxes <= [shape[1], shape[0]] * 2).all()


def test_no_cell_and_low_scores_give_no_box():
    def doubtful(batch):
        box = np.array([[[1, 1, 9, 9]]], np.float32)
        return [box, np.array([[SMALL.score_threshold]], np.float32)]

    for run in (see, doubtful):
        boxes, scores = detect(np.zeros((200, 90, 3), np.uint8), run, SMALL)
        assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_more_boxes_than_memory_allows_are_refused_with_their_number():
    image = np.zeros((40, 300, 3), np.uint8)

    def run(batch):
        boxes = np.tile(np.array([4, 4, 20, 20], np.float32), (1, 10, 1))
        return [boxes, np.full((1, 10), 0.9, np.float32)]

    assert len(detect(image, run, SMALL, 40 * BOX_BYTES)[0]) == 4
    with pytest.raises(MemoryError, match=r"40 boxes in 4 of 4 windows need 12 kB, but 11\.7 kB"):
        detect(image, run, SMALL, 39 * BOX_BYTES)


@pytest.mark.parametrize("fits", [9, 1])  # windows that the memory of a GPU takes
def test_batches_of_windows_find_what_single_ones_do(fits, caplog):
    label = scatter(np.random.default_rng(8), (330, 288), (8, 60), 150)
    sizes = []

    def run(batch):
        if len(batch) > fits:
            raise MemoryError
        sizes.append(len(batch))
        return see_each(batch)

    one, together = (detect(paint(label), run, SMALL, batch=size) for size in (1, 4))
    for single, batched in zip(one, together, strict=True):
        np.testing.assert_array_equal(single, batched)
    assert len(one[0]) > 30 and max(sizes) == min(fits, 4)
    assert ("going on with batches of 1" in caplog.text) == (fits == 1)
