"""What the levels of several planes and channels stand for: maximum, palette, inverted, unnamed."""

import numpy as np
import pytest
import tifffile

from app.files.axes import to_image
from app.files.open import ImageError, open_image
from tests.app.image_bytes import GREY, STACK
from tests.app.tiff_sets import read, write

RAMP = np.arange(256, dtype=np.uint16) * 257
GREYS = np.stack([RAMP] * 3)
RED = np.stack([RAMP, RAMP * 0, RAMP * 0])
BLACK = np.zeros_like(GREY)


def test_the_highest_of_planes_in_which_zero_is_white(tmp_path):
    white = 255 - np.stack([GREY, BLACK, GREY // 2])
    write(tmp_path / "a.tif", white, photometric="miniswhite", metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(read(tmp_path / "a.tif", "max")[:, :, 0], GREY)


def test_the_highest_of_planes_with_a_palette(tmp_path):
    numbers = 255 - np.stack([BLACK, GREY])
    named = {"metadata": {"axes": "ZYX"}, "photometric": "palette", "colormap": GREYS[:, ::-1]}
    write(tmp_path / "a.tif", numbers, **named)
    with open_image(tmp_path / "a.tif", "max") as image:
        np.testing.assert_array_equal(image[:, :], np.dstack([GREY] * 3))


@pytest.mark.parametrize("axes", ["ZYX", "ZYXC"])
def test_what_is_nan_in_one_plane_is_that_of_the_others(axes, tmp_path):
    planes = np.stack([GREY, GREY // 2, GREY]).astype(np.float32)
    planes[2] = np.nan
    planes[0, :5] = np.nan
    highest = np.where(np.arange(len(GREY))[:, None] < 5, GREY // 2, GREY).astype(np.float32)
    shaped = planes[..., None].repeat(len(axes) - 2, 3)[..., 0 if axes == "ZYX" else slice(None)]
    np.testing.assert_array_equal(to_image(shaped, axes, "max")[:, :, 0], highest)
    if axes == "ZYX":
        write(tmp_path / "a.tif", planes, metadata={"axes": axes})
        np.testing.assert_array_equal(read(tmp_path / "a.tif", "max")[:, :, 0], highest)


@pytest.mark.parametrize("colours", [GREYS, RED])
def test_a_palette_is_how_several_channels_are_displayed(colours, tmp_path):
    both = np.stack([BLACK, GREY])
    write(
        tmp_path / "a.tif",
        both,
        imagej=True,
        photometric="palette",
        colormap=colours,
        metadata={"axes": "CYX", "Labels": ["empty", "cells"]},
    )
    with open_image(tmp_path / "a.tif") as image:
        np.testing.assert_array_equal(image[:, :], np.moveaxis(both, 0, 2))
        assert image.channel_names == ("empty", "cells")


def test_channels_that_are_numbers_of_colours_are_refused(tmp_path):
    colours = np.random.default_rng(1).integers(0, 2**16, (3, 256)).astype(np.uint16)
    named = {"metadata": {"axes": "CYX"}, "photometric": "palette", "colormap": colours}
    write(tmp_path / "a.tif", np.stack([BLACK, GREY]), **named)
    with pytest.raises(ImageError, match=r"a\.tif: has 2 channels and a palette.*export it as RGB"):
        open_image(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
def test_levels_with_a_sign_of_which_zero_is_white(dtype, tmp_path):
    image = (GREY // 2).astype(dtype)
    write(tmp_path / "a.tif", image, photometric="miniswhite")
    found = read(tmp_path / "a.tif")[:, :, 0]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found - found.max(), image.min() - image)


@pytest.mark.parametrize(
    ("lengths", "axes", "count"),
    [((9, 3), "TC", 3), ((2, 9), "CZ", 2), ((9, 11), "", 1)],
    ids=["channels second", "channels first", "none"],
)
def test_the_shortest_of_two_axes_without_names_is_channels(lengths, axes, count, tmp_path, caplog):
    image = np.random.default_rng(1).integers(0, 99, (*lengths, *GREY.shape), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, metadata=None, photometric="minisblack")
    tifffile.imwrite(tmp_path / "b.tif", image, photometric="minisblack")  # lengths are told
    channels = axes.find("C")
    highest = image.max(tuple(k for k in (0, 1) if k != channels))
    highest = np.moveaxis(highest, 0, 2) if axes else highest[:, :, None]
    with open_image(tmp_path / "b.tif", "max") as found:
        np.testing.assert_array_equal(found[:, :], highest)
        assert found.shape[2] == count
    assert any("are not named; read as" in text for text in caplog.messages) == bool(axes)


def test_a_stack_is_a_stack(tmp_path):
    write(tmp_path / "a.tif", STACK, metadata={"axes": "ZYX"})
    with open_image(tmp_path / "a.tif", "max") as image:
        np.testing.assert_array_equal(image[:, :][:, :, 0], STACK.max(0))
