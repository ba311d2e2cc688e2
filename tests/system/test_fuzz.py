"""Thousands of broken files: each is an image or an ImageError."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.broken_files import assert_read_or_refused


@pytest.mark.smoke
def test_every_broken_file_is_an_image_or_refused(tmp_path):
    assert_read_or_refused(tmp_path, 30)


def test_coverage_guided_fuzzing_finds_nothing(tmp_path):
    """A minute of it; CONTRIBUTING.md has the long run."""
    pytest.importorskip("atheris")
    command = [sys.executable, "-m", "tests.system.fuzz_files", "--seconds", "60"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, "--corpus", tmp_path], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "NEW" in done.stderr  # it is guided: some inputs reached what none before had
