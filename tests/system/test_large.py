"""What takes size: images of several large windows."""

import numpy as np
import pytest

from app.detect import detect
from tests.app.perfect_detectors import LARGE, by_place, paint, scatter, see, true_boxes

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize("shape", [(1537, 2817), (2817, 300), (1, 1537)])
def test_in_large_windows_as_in_one(shape):
    label = scatter(np.random.default_rng(0), shape, (8, 250), 60)
    boxes, _ = detect(paint(label), see, LARGE)
    np.testing.assert_array_equal(by_place(boxes), by_place(true_boxes(label)))
