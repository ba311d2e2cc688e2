"""Grey levels: percentiles are numpy's, fill values count for nothing, and cells stand out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import levels as levels_module
from app.levels import CELL, survey
from tests.app.hostile_arrays import HOSTILE, hostile
from tests.app.made_cells import nuclei

COUNTED = ("uint8", "uint16")
OTHERS = ("int8", "int16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64")
PERCENTS = (0, 1, 50, 97, 99, 100)


def draw(kind: str, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Values that any type of pixel can hold; about a third are zero."""
    there = rng.random(shape) < 0.7
    if kind == "many":
        return rng.gamma(2.0, 12.0, shape).clip(0, 120) * there
    if kind == "few":
        return rng.integers(1, 5, shape) * there
    return there * 1.0


def cells(rng: np.random.Generator, shape: tuple[int, int], count: int) -> np.ndarray:
    """Bright nuclei in a dark, noisy image; float64, from about 30 to 250."""
    return nuclei(rng, shape, count)[0] + rng.normal(40, 4, shape)


def of_one(image: np.ndarray) -> levels_module.Levels:
    return survey(image[:, :, None]).channels[0]


def percentiles(found: levels_module.Levels) -> list[float]:
    return [found.percentile(p) for p in PERCENTS]


@settings(deadline=None, max_examples=80)
@given(
    dtype=st.sampled_from(COUNTED + OTHERS),
    kind=st.sampled_from(["many", "few", "binary"]),
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    percent=st.floats(0, 100),
    seed=st.integers(0, 9999),
)
def test_percentiles_are_numpys_over_what_is_finite_and_not_zero(dtype, kind, shape, percent, seed):
    rng = np.random.default_rng(seed)
    image = np.stack([draw(kind, rng, shape).astype(dtype) for _ in range(2)], 2)
    if dtype.startswith("float"):
        for value in (np.nan, np.inf, -np.inf):
            image[rng.random(image.shape) < 0.02] = value
    for c, found in enumerate(survey(image).channels):
        values = image[:, :, c][np.isfinite(image[:, :, c]) & (image[:, :, c] != 0)]
        assert found.pixels == values.size and not found.fills
        wanted = np.percentile(values.astype(np.float64), percent) if values.size else 0
        assert found.percentile(percent) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_in_blocks_as_in_one(dtype, monkeypatch):
    rng = np.random.default_rng(1)
    grey = cells(rng, (200, 330), 20)
    image = np.stack([grey, grey + 5, cells(rng, grey.shape, 9)], 2).astype(dtype)
    whole = survey(image)
    monkeypatch.setattr(levels_module, "_BLOCK", CELL)
    parts = survey(image)
    for one, other in zip(whole.channels, parts.channels, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.below, other.below)
        assert (one.fills, one.empty) == (other.fills, other.empty)
    assert parts.shape == (200, 330, 3) and parts.content.shape == whole.content.shape == (4, 6)
    # Where blocks end the surroundings of a mean are cut, which the map may show a little.
    assert np.corrcoef(whole.content.ravel(), parts.content.ravel())[0, 1] > 0.9


# -------------------------------------------------------------------------------- fill values


@pytest.mark.parametrize("share", [0.0095, 0.014, 0.4])
@pytest.mark.parametrize(
    ("dtype", "fill"),
    [
        ("float32", -9999.0),
        ("float32", -1e10),
        ("float32", float(np.float32(3.4e38))),
        ("float32", float(np.finfo("float32").min)),
        ("float64", float(np.finfo("float64").max)),
        ("float32", 65535.0),
        ("int16", -32768),
        ("int32", -9999),
        ("uint16", 65535),
        ("uint16", 4095),
        ("uint8", 255),
        ("uint16", 0),
    ],
)
def test_fill_values_are_left_out(dtype, fill, share):
    rng = np.random.default_rng(2)
    scale = 0.5 if dtype == "uint8" else 4.0
    image = (cells(rng, (160, 240), 25) * scale).astype(dtype)
    high, wide = (round(side * share**0.5) for side in image.shape)
    image[5 : 5 + high, 9 : 9 + wide] = fill
    found = of_one(image)
    rest = image[image != fill].astype(np.float64)
    assert found.fills == ((fill,) if fill else ())
    assert found.pixels == rest.size and not found.empty
    np.testing.assert_allclose(percentiles(found), np.percentile(rest, PERCENTS))


def test_fill_values_at_both_ends_are_left_out():
    image = cells(np.random.default_rng(3), (150, 200), 20).astype(np.float32)
    image[:30], image[-20:, :50], image[60:90, :9] = -9999, 3e38, -1e10
    found = of_one(image)
    assert sorted(found.fills) == [-1e10, -9999, float(np.float32(3e38))]
    rest = image[(image > -9000) & (image < 1e9)].astype(np.float64)
    np.testing.assert_allclose(percentiles(found), np.percentile(rest, PERCENTS))


@pytest.mark.parametrize(("dtype", "fill"), [("float32", -9999), ("uint16", 65535)])
def test_fill_values_are_left_out_beside_a_few_hot_pixels(dtype, fill):
    image = (cells(np.random.default_rng(14), (200, 300), 25) * 5).astype(dtype)
    image[100, [5, 60, 200]] = 40000
    image[20:50, 30:60] = fill
    found = of_one(image)
    rest = image[image != fill].astype(np.float64)
    assert found.fills == (fill,)
    np.testing.assert_allclose(percentiles(found), np.percentile(rest, PERCENTS))


def test_bright_cells_that_saturate_are_no_fill():
    # A camera's highest value, above a tail of all values below it.
    rng = np.random.default_rng(4)
    for dtype, most, gain in (("uint8", 255, 2.0), ("uint16", 4095, 30.0)):
        image = (cells(rng, (200, 200), 30) * gain).clip(0, most).astype(dtype)
        assert (image == most).mean() > 0.02
        found = of_one(image)
        assert found.fills == () and found.percentile(100) == most


@pytest.mark.parametrize("values", [(7,), (100, 255), (1, 2, 3), tuple(range(1, 16))])
def test_images_of_few_levels_have_no_fill(values):
    image = np.random.default_rng(5).choice(np.array((0, *values), np.uint8), (60, 80))
    found = of_one(image)
    assert found.fills == ()
    assert found.values.tolist() == list(values) and found.pixels == (image > 0).sum()


def test_a_few_hot_pixels_are_no_fill_and_move_nothing():
    image = cells(np.random.default_rng(6), (300, 300), 30).astype(np.uint16)
    before = of_one(image)
    image[7, 10:19] = 65535
    after = of_one(image)
    assert after.fills == () and after.percentile(100) == 65535
    for percent in (1, 50, 99):
        assert after.percentile(percent) == pytest.approx(before.percentile(percent), rel=0.05)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_there(value):
    image = cells(np.random.default_rng(7), (150, 200), 20).astype(np.float32)
    image[20:60, 30:90] = value
    found = of_one(image)
    rest = image[np.isfinite(image)].astype(np.float64)
    np.testing.assert_allclose(percentiles(found), np.percentile(rest, PERCENTS))
    assert not found.empty
    assert of_one(np.full((9, 9), value, np.float32)).empty


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", HOSTILE)
def test_numbers_of_any_size_give_levels_and_no_warning(kind):
    image = hostile(kind)
    noise = np.random.default_rng(16).normal(100, 5, image.shape).astype(image.dtype)
    found = survey(np.dstack([image, noise, image[::-1]]))
    assert np.isfinite(found.content).all()
    values = image[np.isfinite(image)].astype(np.longdouble)
    values = values[(values != 0) & (abs(values) <= np.finfo(np.float64).max)]
    for levels in (found.channels[0], found.channels[2]):
        assert levels.pixels == values.size and not levels.fills
        exact = np.percentile(values, PERCENTS) if values.size else np.zeros(len(PERCENTS))
        np.testing.assert_allclose(percentiles(levels), exact.astype(float), rtol=1e-6, atol=1e-322)


# ------------------------------------------------------------------------- what holds something


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "float32"])
def test_a_binary_image_holds_something_and_a_constant_one_does_not(dtype):
    mask = cells(np.random.default_rng(8), (200, 300), 20) > 80
    assert not of_one(mask.astype(dtype)).empty
    for value in (0, 1):
        assert of_one(np.full((200, 300), value).astype(dtype)).empty


def test_a_constant_channel_beside_others_is_empty():
    grey = cells(np.random.default_rng(9), (200, 300), 20).astype(np.uint8)
    opaque = np.full_like(grey, 255)
    found = survey(np.dstack([grey, grey // 2, opaque, np.zeros_like(grey)]))
    assert [levels.empty for levels in found.channels] == [False, False, True, True]


def test_grey_is_told_from_colour():
    grey = cells(np.random.default_rng(10), (100, 150), 9).astype(np.uint8)
    colour = np.dstack([grey] * 3)
    assert survey(grey[:, :, None]).grey and survey(colour).grey
    colour[99, 149, 1] += 1
    assert not survey(colour).grey


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_content_is_high_where_cells_are(dtype):
    rng = np.random.default_rng(11)
    image = rng.normal(40, 4, (530, 650))
    image[128:320, 192:448] = cells(rng, (192, 256), 25)  # whole cells of the map
    content = survey(image.astype(dtype)[:, :, None]).content
    there = np.zeros(content.shape, bool)
    there[2:5, 3:7] = True
    assert content.shape == (9, 11) and content.dtype == np.float32
    assert np.median(content[there]) > 4 * np.median(content[~there])
    assert content.argmax() in np.flatnonzero(there)


def test_an_empty_channel_adds_no_content():
    rng = np.random.default_rng(12)
    grey = cells(rng, (256, 256), 9)
    noise = rng.normal(1000, 100, grey.shape)
    both = survey(np.dstack([grey, noise]).astype(np.uint16))
    assert [levels.empty for levels in both.channels] == [False, True]
    alone = survey(grey.astype(np.uint16)[:, :, None])
    np.testing.assert_array_equal(both.content, alone.content)


@settings(deadline=None, max_examples=30)
@given(dtype=st.sampled_from(COUNTED + OTHERS), seed=st.integers(0, 999), cut=st.floats(-1, 130))
def test_above_keeps_the_higher_levels(dtype, seed, cut):
    image = draw("many", np.random.default_rng(seed), (30, 40)).astype(dtype)
    found = of_one(image).above(cut)
    values = image[image != 0].astype(np.float64)
    values = values[values > cut]
    assert found.pixels == values.size
    if values.size:
        np.testing.assert_allclose(percentiles(found), np.percentile(values, PERCENTS))
    else:
        assert percentiles(found) == [0] * len(PERCENTS)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 3000), (7, 9), (8, 8), (65, 63)])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float32"])
def test_images_of_any_size(shape, dtype):
    image = np.random.default_rng(13).integers(1, 100, (*shape, 3)).astype(dtype)
    found = survey(image)
    assert found.content.shape == (-(-shape[0] // CELL), -(-shape[1] // CELL))
    assert np.isfinite(found.content).all() and len(found.channels) == 3
    for c, levels in enumerate(found.channels):
        wanted = np.percentile(image[:, :, c].astype(np.float64), PERCENTS)
        np.testing.assert_allclose(percentiles(levels), wanted)
