"""An image in windows has the cells that it has whole, by detectors that see perfectly."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.detect import detect
from app.predict import outline
from app.tile import Magnified, windows
from tests.app.make_toy_graphs import METHOD
from tests.app.perfect_detectors import (
    LARGE,
    SMALL,
    bright,
    bright_squares,
    by_place,
    paint,
    pave,
    rough,
    scatter,
    see,
    squares,
    true_boxes,
)

shapes = st.tuples(st.integers(1, 330), st.integers(1, 330))


@settings(deadline=None, max_examples=120)
@given(shape=shapes, seed=st.integers(0, 9999))
def test_tiled_equals_untiled_for_cells_within_the_overlap(shape, seed):
    label = scatter(np.random.default_rng(seed), shape, (2, 28), 40)
    boxes, scores = detect(paint(label), see, SMALL)
    np.testing.assert_array_equal(by_place(boxes), by_place(true_boxes(label)))
    assert (np.diff(scores) <= 0).all()


@settings(deadline=None, max_examples=120)
@given(shape=shapes, seed=st.integers(0, 9999))
def test_cells_larger_than_the_overlap_are_joined(shape, seed):
    # Up to twice a window: seen whole by none.
    label = scatter(np.random.default_rng(seed), shape, (33, 190), 12)
    boxes, _ = detect(paint(label), see, SMALL)
    np.testing.assert_array_equal(by_place(boxes), by_place(true_boxes(label)))


@settings(deadline=None, max_examples=60)
@given(
    shape=shapes,
    seed=st.integers(0, 9999),
    sides=st.sampled_from([(4, 20), (24, 38), (30, 190), (1, 330)]),
)
def test_cells_that_touch_stay_apart(shape, seed, sides):
    label = pave(np.random.default_rng(seed), shape, sides)
    boxes, _ = detect(paint(label), see, SMALL)
    np.testing.assert_array_equal(by_place(boxes), by_place(true_boxes(label)))


# Of smaller cells two views, each a pixel off, may overlap by less than NMS asks for: from a side
# s on, (s - 2)^2 / (s + 2)^2 is above 0.65.
min_side = 19


@settings(deadline=None, max_examples=150)
@given(
    shape=st.tuples(st.integers(30, 330), st.integers(30, 330)),
    seed=st.integers(0, 9999),
    sides=st.sampled_from([(min_side, 28), (26, 38), (33, 95), (60, 190)]),
    copies=st.integers(1, 3),
)
def test_a_detector_that_is_a_little_off_finds_each_cell_once(shape, seed, sides, copies):
    label = scatter(np.random.default_rng(seed), shape, sides, 30)
    wanted = by_place(true_boxes(label))
    boxes, _ = detect(paint(label), rough(seed, copies), SMALL)
    assert len(boxes) == len(wanted)
    if len(wanted):
        nearest = np.abs(boxes[:, None] - wanted[None]).max(2)
        assert sorted(nearest.argmin(1)) == list(range(len(wanted)))
        assert nearest.min(1).max() <= 1.5


def test_a_cell_where_four_windows_meet():
    label = np.zeros((160, 160), int)
    label[70:90, 66:94] = 1  # inside the overlap, 64 to 96, of all four
    boxes, _ = detect(paint(label), see, SMALL)
    np.testing.assert_array_equal(boxes, [[66, 70, 94, 90]])


def test_a_large_cell_where_four_windows_meet():
    label = np.zeros((160, 160), int)
    label[30:130, 40:140] = 1
    boxes, _ = detect(paint(label), see, SMALL)
    np.testing.assert_array_equal(boxes, [[40, 30, 140, 130]])


def test_two_windows_do_not_leave_a_cell_to_each_other():
    # As wide as the overlap less both margins: a pixel decides which windows see it whole.
    label = np.zeros((60, 160), int)
    label[10:50, 66:94] = 1
    for seed in range(100):
        boxes, _ = detect(paint(label), rough(seed, 1), SMALL)
        assert len(boxes) == 1, seed


def test_a_sliver_beyond_a_window_edge_is_no_cell():
    # The second window, from x = 64, sees one column of a cell that no window sees whole.
    label = np.zeros((160, 160), int)
    label[10:140, 20:65] = 1
    for seed in range(20):
        boxes, _ = detect(paint(label), rough(seed, 3), SMALL)
        np.testing.assert_allclose(boxes, [[20, 10, 65, 140]], atol=1.01)


def test_two_large_neighbours_stay_two():
    label = np.zeros((90, 160), int)
    label[5:40, 40:140] = 1
    label[43:80, 40:150] = 2
    label[30:43, 143:150] = 2  # reaches up beside the first, so that their boxes overlap
    boxes, _ = detect(paint(label), see, SMALL)
    np.testing.assert_array_equal(
        boxes[boxes[:, 1].argsort()], [[40, 5, 140, 40], [40, 30, 150, 80]]
    )


@pytest.mark.parametrize("magnification", [0.5, 1.4])
@pytest.mark.parametrize("sides", [(16, 56), (60, 200)])
def test_windows_leave_no_trace_at_any_magnification(sides, magnification):
    # Smaller than the overlap, and larger, so that they are joined of parts.
    label = scatter(np.random.default_rng(4), (900, 1000), sides, 200, gap=8)
    image = squares(label)
    parts = dataclasses.replace(LARGE, window=256, stride=128, pad_value=0)
    once = dataclasses.replace(LARGE, window=4096, stride=2048, pad_value=0)
    magnified = Magnified(image, magnification, 32)
    height, width = magnified.shape[:2]
    whole = magnified[0:height, 0:width]
    assert len(windows((height, width), parts)) > 8
    found = [
        detect(image, bright_squares, parts, magnification=magnification)[0],
        detect(whole, bright_squares, once, magnification=1.0)[0] / np.float32(magnified.factor),
    ]
    in_parts, at_once = (boxes[np.lexsort(boxes.round(1).T)] for boxes in found)
    assert len(in_parts) == len(at_once) == label.max()
    np.testing.assert_allclose(in_parts, at_once, atol=0.05)
    labels = [outline(image, boxes, bright, METHOD).labels[:, :] for boxes in (in_parts, at_once)]
    assert labels[0].max() == label.max()
    np.testing.assert_array_equal(*labels)
