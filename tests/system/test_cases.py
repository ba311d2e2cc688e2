"""Kinds of images that once went wrong, in many variants, with the shipped weights."""

import numpy as np
import pytest

from tests.app import cases


@pytest.mark.parametrize("opaque", [255, 254])
def test_an_undeclared_opaque_sample_changes_nothing(opaque, tmp_path):
    cases.check_an_opaque_sample(opaque, tmp_path)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "others",
    [
        ["noise"],
        ["noise", "noise"],
        ["noise", "noise", "noise"],
        ["constant"],
        ["constant", "noise", "constant"],
        ["brightfield"],
        ["noise", "constant", "brightfield"],
    ],
    ids="-".join,
)
def test_channels_that_hold_nothing_change_nothing(first, others):
    cases.check_empty_channels(first, others)


@pytest.mark.parametrize(("side", "field", "count"), [(800, 1086, 3), (800, 2172, 3)])
def test_sparse_nuclei(side, field, count):
    cases.check_sparse_nuclei(side, field, count)


@pytest.mark.parametrize("sigma", [0.7, 1.5, 3.0])
@pytest.mark.parametrize("deviation", [1.5, 5.0])
def test_smooth_noise_has_no_cell(sigma, deviation):
    cases.check_smooth_noise(sigma, deviation)


@pytest.mark.parametrize("shape", [(220, 220), (600, 900)])
def test_an_empty_slide_has_no_cell(shape):
    cases.check_an_empty_slide(shape)


@pytest.mark.parametrize("share", [0.0095, 0.014])
@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", 255),
        ("uint16", 65535),
        ("uint16", 0),
        ("float32", -9999.0),
        ("float32", -1e10),
        ("float32", 3.4e38),
        ("float32", np.nan),
    ],
)
def test_debris_and_fill_values_change_nothing(dtype, value, share):
    cases.check_a_fill_value(dtype, value, share)
