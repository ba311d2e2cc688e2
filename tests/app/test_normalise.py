"""Normalising: against numpy's percentiles, and at the edges."""

import numpy as np
import pytest

from app import levels as levels_module
from app.normalise import Normalised, normalise, percentile_limits
from tests.app.slow_twins import slow_normalise


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("seed", range(3))
def test_equals_numpys_percentiles(dtype, seed):
    rng = np.random.default_rng(seed)
    channel = (rng.gamma(2.0, 30.0, (40, 50)) * (rng.random((40, 50)) < 0.7)).astype(dtype)
    low, high = (1.0, 99.0) if seed else (0.0, 100.0)
    found = normalise(channel, low, high)
    assert found.shape == (40, 50, 3) and found.dtype == np.uint8
    for c in range(3):
        np.testing.assert_array_equal(found[:, :, c], slow_normalise(channel, low, high))


def test_percentiles_in_closed_form():
    channel = np.array([[0, 0, 10, 20, 30, 40, 50]], np.uint8)
    image = channel[:, :, None]
    assert percentile_limits(image, 0, 100) == [(10.0, 50.0)]
    assert percentile_limits(image, 25, 50) == [(20.0, 30.0)]
    assert percentile_limits(image, 10, 90)[0] == pytest.approx((14.0, 46.0))
    assert percentile_limits(np.zeros((3, 3, 2), np.uint8), 1, 99) == [None, None]
    np.testing.assert_array_equal(normalise(channel, 0, 100)[0, :, 0], [0, 0, 0, 64, 128, 191, 255])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "float32"])
def test_flat_channels_divide_by_nothing(dtype):
    assert not normalise(np.zeros((4, 4), dtype), 1, 99).any()
    assert (normalise(np.ones((4, 4), dtype), 1, 99) == 255).all()
    dot = np.zeros((4, 4), dtype)
    dot[1, 2] = 1
    np.testing.assert_array_equal(normalise(dot, 1, 99)[:, :, 0], dot.astype(np.uint8) * 255)


def test_not_a_number_and_infinity():
    image = np.linspace(1, 100, 100, dtype=np.float32).reshape(10, 10)
    clean = normalise(image, 1, 99)
    image[0, 0], image[0, 1], image[9, 9] = np.nan, -np.inf, np.inf
    found = normalise(image, 1, 99)
    assert found[0, 0].tolist() == found[0, 1].tolist() == [0, 0, 0]
    assert found[9, 9].tolist() == [255, 255, 255]
    assert np.abs(found.astype(int) - clean).max() <= 5
    assert not normalise(np.full((3, 3), np.nan, np.float32), 1, 99).any()
    flat = np.array([[np.nan, 0, 5, 5, -np.inf, np.inf]], np.float32)
    assert normalise(flat, 1, 99)[0, :, 0].tolist() == [0, 0, 255, 255, 0, 255]


def test_channels():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 30, 6), dtype=np.uint8)
    grey, two, rgb, four, six = (
        normalise(image[:, :, :count] if count > 1 else image[:, :, 0], 1, 99)
        for count in (1, 2, 3, 4, 6)
    )
    np.testing.assert_array_equal(grey, normalise(image[:, :, :1], 1, 99))
    np.testing.assert_array_equal(grey, np.repeat(grey[:, :, :1], 3, 2))
    # Each channel has its own percentiles; what is dropped or missing changes no other.
    np.testing.assert_array_equal(rgb[:, :, 0], grey[:, :, 0])
    np.testing.assert_array_equal(two[:, :, :2], rgb[:, :, :2])
    assert not two[:, :, 2].any()
    each = np.stack([normalise(image[:, :, c], 1, 99)[:, :, 0] for c in range(6)])
    np.testing.assert_array_equal(four, np.repeat(each[:4].max(0)[:, :, None], 3, 2))
    np.testing.assert_array_equal(six, np.repeat(each.max(0)[:, :, None], 3, 2))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_chosen_channels_between_chosen_levels(dtype):
    rng = np.random.default_rng(2)
    image = rng.integers(0, 200, (20, 30, 5)).astype(dtype)
    wide, narrow = (10.0, 110.0), (50.5, 60.5)

    def between(channel, limits):
        unit = (image[:, :, channel].astype(float) - limits[0]) / (limits[1] - limits[0])
        return np.rint(unit.clip(0, 1) * 255).astype(np.uint8)

    one = Normalised(image, [narrow], [3])[:, :]
    np.testing.assert_array_equal(one, np.repeat(between(3, narrow)[:, :, None], 3, 2))
    two = Normalised(image, [wide, narrow], [4, 1])[:, :]
    black = np.zeros((20, 30), np.uint8)
    np.testing.assert_array_equal(two, np.dstack([between(4, wide), between(1, narrow), black]))
    three = Normalised(image, [wide, None, narrow], [0, 1, 2])[:, :]
    np.testing.assert_array_equal(three, np.dstack([between(0, wide), black, between(2, narrow)]))
    four = Normalised(image, [wide, narrow, None, wide], [0, 2, 3, 4])[5:9, 2:]
    most = np.maximum.reduce([between(0, wide), between(2, narrow), between(4, wide)])[5:9, 2:]
    np.testing.assert_array_equal(four, np.repeat(most[:, :, None], 3, 2))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_part_is_as_in_the_whole_however_it_is_counted(dtype, monkeypatch):
    rng = np.random.default_rng(3)
    image = rng.gamma(2.0, 30.0, (70, 90, 3)).astype(dtype)
    whole = normalise(image, 1, 99)
    monkeypatch.setattr(levels_module, "_BLOCK", levels_module.CELL)
    parts = Normalised(image, percentile_limits(image, 1, 99))
    np.testing.assert_array_equal(parts[5:40, 60:90], whole[5:40, 60:90])


@pytest.mark.parametrize("dtype", ["int16", "uint32", "float64"])
def test_sampled_percentiles_are_within_one_grey_level(dtype, monkeypatch):
    # Brighter from row to row, so that it matters where the samples are from.
    rng = np.random.default_rng(4)
    rows = np.linspace(100, 4000, 600)[:, None]
    image = (rows * rng.uniform(0.8, 1.2, (600, 800)) * (rng.random((600, 800)) < 0.8)).astype(
        dtype
    )
    exact = slow_normalise(image, 1, 99).astype(int)
    monkeypatch.setattr(levels_module, "_MAX_VALUES", image.size // 4)
    found = normalise(image, 1, 99)[:, :, 0]
    assert np.abs(found - exact).max() == 1  # not 0, or nothing was sampled
