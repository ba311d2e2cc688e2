"""Windows cover every image, and what is magnified is the same in parts and as a whole."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.tile import Magnified, magnify, pad, scale_factor, window_starts, windows
from tests.app.perfect_detectors import LARGE

SIDES = (1, 1535, 1536, 1537, 2817)


@pytest.mark.parametrize("shape", list(itertools.product(SIDES, SIDES)))
def test_windows_cover_the_image_and_stay_inside(shape):
    covered = np.zeros(shape, bool)
    for x0, y0, x1, y1 in windows(shape, LARGE):
        assert 0 <= x0 < x1 <= shape[1] and 0 <= y0 < y1 <= shape[0]
        # None is cut short: each is as large as the window or the image allows.
        for start, stop, length in ((y0, y1, shape[0]), (x0, x1, shape[1])):
            assert start % 32 == 0
            if stop == length:
                assert min(length, 1536) <= stop - start < 1536 + 32
            else:
                assert stop - start == 1536
        covered[y0:y1, x0:x1] = True
    assert covered.all()


@given(
    length=st.integers(1, 10_000),
    window=st.integers(2, 600),
    overlap=st.integers(1, 599),
    granularity=st.sampled_from([1, 4, 32]),
)
def test_windows_are_a_stride_apart_and_no_more_than_needed(length, window, overlap, granularity):
    stride = max(1, (window - overlap) // granularity) * granularity
    starts = window_starts(length, window, stride, granularity)
    steps = np.diff(starts)
    assert starts[0] == 0
    assert 0 <= max(0, length - window) - starts[-1] < granularity
    assert (steps[:-1] == stride).all() and (steps > 0).all() and (steps <= stride).all()


def test_known_windows():
    assert window_starts(1536, 1536, 1280, 32) == window_starts(1567, 1536, 1280, 32) == [0]
    assert window_starts(1568, 1536, 1280, 32) == [0, 32]
    assert window_starts(2817, 1536, 1280, 32) == [0, 1280]
    assert window_starts(2850, 1536, 1280, 32) == [0, 1280, 1312]


def test_scale_enlarges_to_a_window_within_its_limit():
    assert scale_factor((300, 200), LARGE) == 2.0
    assert scale_factor((1024, 512), LARGE) == 1.5
    assert scale_factor((1536, 10), LARGE) == scale_factor((4000, 10), LARGE) == 1.0


@pytest.mark.parametrize("shape", [(1, 1), (31, 33), (64, 32), (95, 160)])
def test_padding_fills_up_to_the_granularity(shape):
    image = np.full((*shape, 3), 7, np.uint8)
    padded = pad(image, LARGE)
    assert all(side % LARGE.granularity == 0 for side in padded.shape[:2])
    assert all(0 <= p - s < LARGE.granularity for p, s in zip(padded.shape, shape, strict=False))
    np.testing.assert_array_equal(padded[: shape[0], : shape[1]], image)
    assert (padded[shape[0] :] == LARGE.pad_value).all()
    assert (padded[:, shape[1] :] == LARGE.pad_value).all()


def test_magnify_keeps_an_image_that_needs_none():
    image = np.zeros((3, 4, 3), np.uint8)
    assert magnify(image, 1.0) is image
    assert magnify(image, 2.0).shape == (6, 8, 3)
    assert magnify(image, 0.5).shape == (2, 2, 3)
    assert magnify(image, 0.01).shape == (1, 1, 3)


def test_what_shrinks_is_averaged():
    fine = np.indices((64, 96)).sum(0) % 2 * 200
    image = np.repeat(fine[:, :, None], 3, 2).astype(np.uint8)
    assert (magnify(image, 0.5) == 100).all()
    assert (Magnified(image, 0.5, 32)[0:32, 0:48] == 100).all()


factors = st.sampled_from([0.35, 0.5, 0.7, 0.98, 1.28, 1.4, 1.96, 2.8]) | st.floats(0.35, 2.8)


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    factor=factors,
    seed=st.integers(0, 9999),
)
def test_any_part_of_what_is_magnified_is_as_in_the_whole(shape, factor, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    magnified = Magnified(image, factor, 32)
    height, width = magnified.shape[:2]
    whole = magnified[0:height, 0:width]
    assert whole.shape == magnified.shape == (height, width, 3) and whole.dtype == np.uint8
    for _ in range(8):
        y0, x0 = (int(rng.integers(0, -(-side // 32))) * 32 for side in (height, width))
        y1, x1 = int(rng.integers(y0 + 1, height + 1)), int(rng.integers(x0 + 1, width + 1))
        part = magnified[y0:y1, x0:x1]
        assert part.flags.c_contiguous
        np.testing.assert_array_equal(part, whole[y0:y1, x0:x1])


@settings(deadline=None, max_examples=60)
@given(shape=st.tuples(st.integers(20, 3000), st.integers(20, 3000)), factor=factors)
def test_a_magnified_image_has_the_size_that_was_asked_for(shape, factor):
    # To what makes whole numbers of pixels of sides of 32: by 1.6 % at most where it shrinks.
    magnified = Magnified(np.zeros((*shape, 3), np.uint8), factor, 32)
    assert abs(np.log(magnified.factor / factor)) < 0.5 * factor / 32 * 1.05
    for side, magnified_side in zip(shape, magnified.shape, strict=False):
        assert 0 <= side * magnified.factor - magnified_side < 1


@pytest.mark.parametrize("factor", [0.35, 0.5, 0.7, 1.4, 2.0, 2.8])
def test_what_is_magnified_lies_where_it_should(factor):
    # A smooth picture, whose values tell the place.
    y, x = np.mgrid[:300, :430]
    image = np.stack((x / 430 * 255, y / 300 * 255, (x + y) / 730 * 255), 2).astype(np.uint8)
    magnified = Magnified(image, factor, 32)
    height, width = magnified.shape[:2]
    found = magnified[64:height, 32:width].astype(float)
    rows, columns = (np.arange(s, n) for s, n in ((64, height), (32, width)))
    x, y = ((places + 0.5) / magnified.factor - 0.5 for places in (columns, rows))
    assert np.abs(found[:, :, 0] - (x / 430 * 255)[None]).max() < 2
    assert np.abs(found[:, :, 1] - (y / 300 * 255)[:, None]).max() < 2
    # As resized as a whole, but for the rounded factor.
    plain = magnify(image, magnified.factor)[64:height, 32:width].astype(float)
    assert np.abs(plain - found).max() <= 3
