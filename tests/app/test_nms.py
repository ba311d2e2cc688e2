"""NMS against its slow twin, and the cases that go wrong first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.nms import nms, overlapping_pairs
from tests.app.slow_twins import slow_iou, slow_nms


def random_boxes(seed: int, count: int, spread: float):
    """Boxes of very different sizes; a third are near copies of others, some scores are equal."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, spread, (count, 2))
    sides = np.exp(rng.uniform(0, 4.5, (count, 2)))
    boxes = np.concatenate((centres - sides / 2, centres + sides / 2), 1)
    copies = count // 3
    boxes[:copies] = boxes[copies : 2 * copies] + rng.uniform(-1, 1, (copies, 4))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 0.1)
    return boxes.astype(np.float32), rng.random(count).round(1).astype(np.float32)


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 70),
    spread=st.sampled_from([1.0, 50.0, 5000.0]),
    iou=st.floats(0.05, 0.95),
)
def test_equals_the_slow_twin(seed, count, spread, iou):
    boxes, scores = random_boxes(seed, count, spread)
    assert nms(boxes, scores, iou).tolist() == slow_nms(boxes, scores, iou)


@pytest.mark.parametrize("iou", [0.1, 0.5, 0.9])
def test_pairs_are_all_pairs(iou):
    boxes, _ = random_boxes(1, 90, 60.0)
    first, second = overlapping_pairs(boxes, iou)
    found = sorted(zip(first.tolist(), second.tolist(), strict=True))
    wanted = [
        (i, j)
        for i in range(len(boxes))
        for j in range(i + 1, len(boxes))
        if slow_iou(boxes[i].tolist(), boxes[j].tolist()) > iou
    ]
    assert wanted and found == wanted


def run(boxes, scores, iou=0.5):
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return nms(array, np.array(scores, np.float32), iou).tolist()


def test_nothing():
    assert run([], []) == []


def test_one_box():
    assert run([[0, 0, 5, 5]], [0.9]) == [0]


def test_touching_boxes_both_stay():
    assert run([[0, 0, 5, 5], [5, 0, 10, 5]], [0.5, 0.9]) == [1, 0]


def test_of_identical_boxes_the_best_stays():
    assert run([[0, 0, 5, 5]] * 3, [0.5, 0.9, 0.7]) == [1]


def test_of_equal_scores_the_first_stays():
    assert run([[0, 0, 5, 5]] * 3, [0.5, 0.5, 0.5]) == [0]


def test_overlap_of_just_the_threshold_stays():
    # Intersection 50, union 100.
    assert run([[0, 0, 10, 10], [0, 0, 10, 5]], [0.9, 0.8], 0.5) == [0, 1]
    assert run([[0, 0, 10, 10], [0, 0, 10, 5.01]], [0.9, 0.8], 0.5) == [0]


def test_a_dropped_box_drops_no_other():
    # The second overlaps both its neighbours; they do not overlap each other enough.
    boxes = [[0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10]]
    assert run(boxes, [0.9, 0.8, 0.7], 0.5) == [0, 2]


def test_far_from_the_origin():
    boxes = np.array([[0, 0, 5, 5], [0.5, 0, 5.5, 5], [20, 20, 30, 30]]) + 90_000
    assert run(boxes, [0.9, 0.8, 0.7]) == [0, 2]
