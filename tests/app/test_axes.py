"""Which axes of an array are what: told by the shape where that leaves no doubt, else asked for."""

import numpy as np
import pytest

from app.files.axes import to_image


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((30, 40), "YX"),
        ((30, 40, 7), "YXC"),
        ((3, 40, 4), "YXC"),
        ((20, 30, 40), "ZYX"),
        ((1, 30, 40), "ZYX"),
        ((20, 30, 40, 3), "ZYXC"),
        ((9, 20, 30, 40), "TZYX"),
        ((1, 1, 30, 40), "TZYX"),
        ((1, 20, 30, 40), "TZYX"),
    ],
)
def test_axes_that_need_no_name(shape, axes):
    array = np.random.default_rng(0).integers(0, 9, shape)
    named = to_image(array, axes, "max")
    np.testing.assert_array_equal(to_image(array, None, "max"), named)
    planes = tuple(k for k, letter in enumerate(axes) if letter in "TZ")
    wanted = array.max(planes)
    np.testing.assert_array_equal(named, wanted if "C" in axes else wanted[:, :, None])


@pytest.mark.parametrize(
    ("shape", "stack", "said"),
    [
        ((3, 40, 50), "refuse", r"axes='CYX', or np.moveaxis\(array, 0, -1\)"),
        ((40, 50, 20), "max", "axes='CYX'"),
        ((40, 50, 20), 3, "axes='CYX'"),
        ((5, 3, 40, 50), "max", "axes='ZCYX'"),
        ((9, 9, 9, 40, 50), "max", "axes='TZCYX'"),
        ((40, 50, 3, 3, 3), "max", "axes='TZCYX'"),
    ],
)
def test_axes_are_not_guessed(shape, stack, said):
    with pytest.raises(ValueError, match=rf"^array of shape .* name them all, such as {said}"):
        to_image(np.zeros(shape), None, stack)


@pytest.mark.parametrize("axes", ["YX", "ZYXC", "ZZYX", "ZTX", "CSYX", ""])
def test_axes_that_do_not_fit(axes):
    with pytest.raises(ValueError, match=rf"axes='{axes}': one letter for each axis was wanted"):
        to_image(np.zeros((20, 30, 40) + (5,) * (axes == "CSYX")), axes)


@pytest.mark.parametrize(
    ("dtype", "wanted"), [("?", "u1"), (">u2", "=u2"), ("<u2", "=u2"), (">f4", "=f4"), ("u1", "u1")]
)
def test_values_become_what_the_stages_know_best(dtype, wanted):
    array = np.array([[0, 1], [1, 0]]).astype(dtype)
    image = to_image(array)
    assert image.dtype == np.dtype(wanted) and image.shape == (2, 2, 1)
    np.testing.assert_array_equal(image[:, :, 0], array)
    assert np.shares_memory(image, array) == (array.dtype == wanted)
