"""Kinds of images that once went wrong, a small one of each; more are in tests/system."""

import pytest

from tests.app import cases


def test_an_undeclared_opaque_sample_changes_nothing(tmp_path):
    cases.check_an_opaque_sample(255, tmp_path)


@pytest.mark.parametrize(
    ("first", "others"), [(True, ["noise"]), (False, ["constant", "noise", "brightfield"])]
)
def test_channels_that_hold_nothing_change_nothing(first, others):
    cases.check_empty_channels(first, others)


def test_sparse_nuclei():
    cases.check_sparse_nuclei(512, 512, 40)


def test_smooth_noise_has_no_cell():
    cases.check_smooth_noise(1.5, 1.5)


def test_an_empty_slide_has_no_cell():
    cases.check_an_empty_slide((220, 220))


@pytest.mark.parametrize(("dtype", "value"), [("uint16", 65535), ("float32", -9999.0)])
def test_debris_and_fill_values_change_nothing(dtype, value):
    cases.check_a_fill_value(dtype, value, 0.014)
