"""The ways in which an image may be shown: by its levels alone, before anything is tried."""

import dataclasses

import numpy as np
import pytest

from app.levels import survey
from app.look import (
    Look,
    Wanted,
    is_bright,
    other_channels,
    other_limits,
    other_magnifications,
    usual_look,
)
from tests.app.made_cells import nuclei
from tests.app.make_toy_graphs import METHOD

METHOD = dataclasses.replace(METHOD, window=1536, stride=1280, max_magnification=1.4)
NOTHING = Wanted()
SHAPE = (256, 320)


def dark(seed: int, count: int = 25, background: float = 40.0) -> np.ndarray:
    """A channel of fluorescent nuclei."""
    rng = np.random.default_rng(seed)
    return nuclei(rng, SHAPE, count)[0] + rng.normal(background, 4, SHAPE)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(500, 30, SHAPE)


def stack(*channels: np.ndarray, dtype: str = "uint16") -> np.ndarray:
    return np.dstack(channels).astype(dtype)


def usual(image: np.ndarray, wanted: Wanted = NOTHING) -> Look:
    return usual_look(survey(image), METHOD, wanted)


def channel_ways(image: np.ndarray, wanted: Wanted = NOTHING) -> list[Look]:
    seen = survey(image)
    return list(other_channels(usual(image, wanted), seen, METHOD, wanted))


def limit_ways(image: np.ndarray) -> list[Look]:
    return list(other_limits(usual(image), survey(image)))


def percentile_pair(channel: np.ndarray, low: float = 1, high: float = 99):
    """As the channel is when it is an image."""
    values = channel.astype(np.uint16)
    return pytest.approx(tuple(np.percentile(values[values > 0], (low, high))))


# -------------------------------------------------------------------------------- the usual look


def test_one_channel_between_the_usual_percentiles():
    channel = dark(1)
    look = usual(stack(channel))
    assert look.channels == (0,) and look.limits[0] == percentile_pair(channel)
    assert look.magnification == 1.4


def test_grey_in_colour_is_one_channel():
    assert usual(stack(dark(1), dark(1), dark(1))).channels == (0,)


def test_up_to_three_channels_keep_their_places():
    colour = stack(dark(1), dark(2), dark(3))
    assert usual(colour).channels == (0, 1, 2)
    assert usual(colour[:, :, :2]).channels == (0, 1)
    # What holds nothing is black.
    look = usual(stack(noise(4), dark(2), np.full(SHAPE, 7)))
    assert look.channels == (0, 1, 2)
    assert [limits is None for limits in look.limits] == [True, False, True]


def test_of_four_and_more_only_those_that_hold_something_count():
    constant = np.full(SHAPE, 65535)
    assert usual(stack(dark(1), dark(2), dark(3), dark(4))).channels == (0, 1, 2, 3)
    assert usual(stack(noise(1), dark(2), constant, dark(4), noise(5))).channels == (1, 3)
    assert usual(stack(dark(1), dark(2), dark(3), constant)).channels == (0, 1, 2)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_an_image_of_nothing_has_no_channel(count):
    look = usual(stack(*(noise(c) for c in range(count))))
    assert look.channels == look.limits == ()
    assert usual(np.full((*SHAPE, count), 9, np.uint8)).channels == ()


@pytest.mark.parametrize(
    ("shape", "factor"), [((60, 80), 1.4), ((1200, 90), 1.28), ((90, 2000), 1)]
)
def test_magnification_is_up_to_a_window(shape, factor):
    image = np.random.default_rng(1).integers(0, 255, (*shape, 1), dtype=np.uint8)
    assert usual(image).magnification == factor


def test_what_is_wanted_takes_the_place_of_the_usual():
    image = stack(dark(1), noise(2), dark(3), dark(4))
    by_channel = usual(image, Wanted(channels=(3, 1)))
    # What was asked for is shown, though it is noise.
    assert by_channel.channels == (3, 1) and None not in by_channel.limits
    assert by_channel.limits[0] == percentile_pair(image[:, :, 3])
    by_percentile = usual(image, Wanted(percentiles=(5, 90)))
    assert by_percentile.limits[1] == percentile_pair(image[:, :, 2], 5, 90)
    by_level = usual(image, Wanted(levels=(50.0, 200.0)))
    assert by_level.channels == (0, 2, 3) and by_level.limits == ((50.0, 200.0),) * 3
    assert usual(image, Wanted(magnification=0.3)).magnification == 0.3
    assert usual(image, Wanted(diameter=80.0)).magnification == METHOD.usual_diameter / 80
    both = Wanted(channels=(1,), levels=(1.0, 2.0), diameter=10.0)
    assert usual(image, both) == Look((1,), ((1.0, 2.0),), METHOD.usual_diameter / 10)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_where_cells_are_known_to_be_noise_is_shown(count):
    image = stack(*(noise(c) for c in range(count)))
    look = usual(image, Wanted(cells=True))
    assert look.channels and None not in look.limits
    full = stack(dark(1), noise(2))
    assert usual(full, Wanted(cells=True)) == usual(full)


def test_wanted_knows_what_is_settled():
    assert not NOTHING.limited and not NOTHING.magnified
    assert Wanted(percentiles=(0, 100)).limited and Wanted(levels=(0, 1)).limited
    assert Wanted(diameter=1.0).magnified and Wanted(magnification=1.0).magnified


# ------------------------------------------------------------------------------------- channels


def test_each_full_channel_may_be_shown_alone():
    image = stack(dark(1), noise(2), dark(3))
    ways = channel_ways(image)
    assert [look.channels for look in ways] == [(0,), (2,)]
    assert ways[1].limits == (percentile_pair(image[:, :, 2]),)
    assert {look.magnification for look in ways} == {1.4}
    ways = channel_ways(image, Wanted(levels=(50.0, 2000.0)))
    assert [look.limits for look in ways] == [((50.0, 2000.0),)] * 2


def test_a_grey_image_has_no_other_channels():
    assert not channel_ways(stack(dark(1)))
    assert not channel_ways(stack(dark(1), dark(1), dark(1)))
    assert not channel_ways(stack(dark(1), noise(2), noise(3), noise(4)))


def test_channels_of_a_colour_picture_stay_together():
    stained = stack(*(250 - 0.6 * dark(c) for c in range(3)), dtype="uint8")
    assert is_bright(usual(stained), survey(stained)) and not channel_ways(stained)
    # One bright channel, as brightfield beside fluorescence, is enough.
    assert not channel_ways(stack(dark(1), dark(2), 250 - dark(3)))
    # Of four and more the brightest counts, which is no colour picture.
    many = stack(*(250 - 0.6 * dark(c) for c in range(4)), dtype="uint8")
    assert [look.channels for look in channel_ways(many)] == [(0,), (1,), (2,), (3,)]


def test_what_is_bright():
    for channel, bright in ((dark(1), False), (250 - 0.6 * dark(1), True)):
        image = stack(channel)
        assert is_bright(usual(image), survey(image)) == bright
    image = stack(dark(1), noise(2))
    assert not is_bright(usual(image), survey(image))


# --------------------------------------------------------------------------------------- limits


def test_cells_that_cover_little_are_given_the_range():
    rng = np.random.default_rng(5)
    light = nuclei(rng, (1200, 1200), 5, 10, (600, 600))[0]
    image = (light + rng.normal(100, 10, light.shape)).astype(np.uint16)[:, :, None]
    low, high = usual(image).limits[0]
    assert high < 200  # in the noise
    (way,) = limit_ways(image)
    assert way.limits[0][0] == low and 350 < way.limits[0][1] < 700
    assert (way.channels, way.magnification) == ((0,), usual(image).magnification)


def test_debris_is_not_given_the_range():
    image = dark(6)
    y, x = np.mgrid[:45, :45]
    image[20:65, 30:75] += 200 + 12 * y + 8 * x  # 2.5 %, of many levels
    image = stack(image)
    low, high = usual(image).limits[0]
    assert high > 400
    (way,) = limit_ways(image)
    assert way.limits[0][0] == low and 60 < way.limits[0][1] < 260


def test_ordinary_images_have_no_other_limits():
    for image in (stack(dark(7)), stack(250 - 0.6 * dark(8)), stack(dark(1), dark(2), dark(3))):
        assert not limit_ways(image)


def test_what_is_not_shown_gets_no_limits():
    rng = np.random.default_rng(9)
    light = nuclei(rng, (1200, 1200), 4, 10, (600, 600))[0]
    channels = [rng.normal(100, 10, light.shape) for _ in range(2)]
    ways = limit_ways(stack(channels[0], channels[1] + light))
    assert [look.limits[0] for look in ways] == [None]


# -------------------------------------------------------------------------------- magnifications


def test_magnifications_are_shares_of_the_looks():
    look = Look((0,), ((1.0, 2.0),), 1.2)
    ways = list(other_magnifications(look, [0.5, 2.0]))
    assert ways == [dataclasses.replace(look, magnification=m) for m in (0.6, 2.4)]
    assert not list(other_magnifications(look, []))
