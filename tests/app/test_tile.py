"""Windows cover every image, and what is magnified is the same in parts and as a whole."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.tile import Magnified, magnify, pad, scale_factor, windows
from tests.app.perfect_detectors import LARGE

SIDES = (1, 1535, 1536, 1537, 1567, 1568, 2817, 3000)


@pytest.mark.parametrize("shape", list(itertools.product(SIDES, SIDES)))
def test_windows_cover_the_image_and_stay_inside(shape):
    covered = np.zeros(shape, bool)
    for x0, y0, x1, y1 in windows(shape, LARGE):
        assert 0 <= x0 < x1 <= shape[1] and 0 <= y0 < y1 <= shape[0]
        covered[y0:y1, x0:x1] = True
    assert covered.all()


@settings(deadline=None)
@given(
    length=st.integers(1, 10_000),
    strides=st.integers(1, 40),
    overlap=st.integers(1, 12),
    granularity=st.sampled_from([1, 4, 32]),
)
def test_windows_are_as_few_and_as_small_as_may_be(length, strides, overlap, granularity):
    window, stride = (strides + overlap) * granularity, strides * granularity
    method = dataclasses.replace(LARGE, window=window, stride=stride, granularity=granularity)
    starts, stops = windows((1, length), method)[:, [0, 2]].T
    assert starts[0] == 0 and stops[-1] == length
    assert (starts % granularity == 0).all()
    assert (stops[:-1] - starts[1:] == window - stride).all()
    sides = stops - starts
    assert sides.max() < window + granularity
    # One window less could not be small enough, and their number is all that makes them small.
    count = len(sides)
    assert count == 1 or (window + granularity - 1) + (count - 2) * stride < length
    assert (sides[:-1] == sides[0]).all() and sides[-1] < sides[0] + granularity
    assert count == 1 or sides[0] - (window - stride) < (length - window + stride) / count + (
        2 * granularity
    )


def test_known_windows():
    def along(length):
        return windows((1, length), LARGE)[:, [0, 2]].tolist()

    assert along(1536) == [[0, 1536]] and along(1567) == [[0, 1567]]
    assert along(1568) == [[0, 928], [672, 1568]]
    assert along(3000) == [[0, 1184], [928, 2112], [1856, 3000]]
    assert along(1536 + 9 * 1280) == [[k * 1280, k * 1280 + 1536] for k in range(10)]


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
