"""Assertions in these modules, which hold no tests, tell what was found, too."""

import pytest

pytest.register_assert_rewrite(
    "tests.app.broken_files", "tests.app.cases", "tests.app.sample_scores"
)
