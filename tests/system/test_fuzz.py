"""Thousands of broken files: each is an image or an ImageError."""

import pytest

from tests.app.broken_files import assert_read_or_refused

pytestmark = pytest.mark.smoke


def test_every_broken_file_is_an_image_or_refused(tmp_path):
    assert_read_or_refused(tmp_path, 30)
