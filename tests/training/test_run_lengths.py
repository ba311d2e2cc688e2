"""Outlines of which the pixels are known."""

import numpy as np
import pytest

from tests.training.publisher_files import LEFT, LEFT_POLYGON, SHAPE
from training.prepare.run_lengths import coco_pixels, run_pixels, stack


def test_coco_outlines():
    expected = np.flatnonzero(LEFT)
    shape = list(SHAPE)
    down_columns = [4 * 40 + 6, *([10, 30] * 9), 10]
    down_columns.append(40 * 60 - sum(down_columns))
    np.testing.assert_array_equal(coco_pixels([LEFT_POLYGON], SHAPE), expected)
    outline = {"counts": down_columns, "size": shape}
    np.testing.assert_array_equal(coco_pixels(outline, SHAPE), expected)
    packed = {"counts": "`03400000<", "size": [7, 8]}  # by pycocotools, of [2:5, 2:6]
    box = np.pad(np.ones((3, 4)), 2)
    np.testing.assert_array_equal(coco_pixels(packed, (7, 8)), np.flatnonzero(box))
    triangle = coco_pixels([[0, 0, 10, 0, 0, 10]], (10, 10))
    below = np.add.outer(np.arange(10), np.arange(10)) + 1 < 10
    assert set(np.flatnonzero(below)) <= set(triangle) and len(triangle) <= below.sum() + 10
    for wrong in ([[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], {"counts": [3], "size": [7, 8]}):
        with pytest.raises(ValueError, match=r"wanted x, y|run lengths of"):
            coco_pixels(wrong, (7, 8))


def test_of_overlapping_outlines_the_smaller_lies_on_top():
    small, large = np.arange(2, 5), np.arange(10)
    for cells, expected in (
        ([small, large], [2, 2, 1, 1, 1, 2]),
        ([large, small], [1, 1, 2, 2, 2, 1]),
    ):
        drawn, notes = stack(cells, (2, 5))
        assert drawn.ravel()[:6].tolist() == expected and notes == []
    drawn, notes = stack([large, large[1:], small[:0]], (2, 5))  # a duplicate, and none
    assert drawn.ravel().tolist() == [0] + [1] * 9
    assert notes == ["2 outlines left out: under others, or without a pixel"]
    assert not stack([], (2, 5))[0].any()


def test_run_lengths_may_touch_and_repeat():
    assert run_pixels("1 2 3 1 2 1", (1, 5)).tolist() == [0, 1, 2]
    assert run_pixels("", (1, 5)).tolist() == []
