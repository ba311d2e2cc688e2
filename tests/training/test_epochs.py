"""The windows of an epoch."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.epochs import window_starts


@given(length=st.integers(1, 10_000), window=st.integers(2, 600), overlap=st.integers(1, 599))
def test_windows_are_a_stride_apart_and_end_with_the_image(length, window, overlap):
    stride = max(1, window - overlap)
    starts = window_starts(length, window, stride)
    steps = np.diff(starts)
    assert starts[0] == 0 and starts[-1] == max(0, length - window)
    assert (steps[:-1] == stride).all() and (steps > 0).all() and (steps <= stride).all()


def test_known_windows():
    assert window_starts(1536, 1536, 1280) == [0]
    assert window_starts(1537, 1536, 1280) == [0, 1]
    assert window_starts(2850, 1536, 1280) == [0, 1280, 1314]
