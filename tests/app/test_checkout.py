"""A checkout by a Git that is set to write CRLF line ends, as on Windows, still builds and runs."""

import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# What the container is built from, and what a run reads; graphs for their own sake.
PATTERNS = (
    ".gitattributes",
    ".dockerignore",
    "Dockerfile",
    "predict.sh",
    "requirements.txt",
    "app/**/*.py",
    "weights/settings.json",
    "tests/app/toy_weights/*",
    "samples/images/dsb2018-f6863b83d75e.png",
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A clone, with core.autocrlf, of a repository of these files."""
    if not shutil.which("git"):
        pytest.skip("takes git")
    source, clone = (tmp_path_factory.mktemp("checkout") / name for name in ("source", "clone"))
    for path in (path for pattern in PATTERNS for path in Path().glob(pattern)):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, source / path)
    name = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (
        ["git", "init", "--quiet", source],
        ["git", "-C", source, "-c", "core.autocrlf=false", "add", "--all"],
        ["git", "-C", source, *name, "commit", "--quiet", "--message=all"],
        ["git", "clone", "--quiet", "--config=core.autocrlf=true", source, clone],
    ):
        subprocess.run(command, check=True)
    return clone


def test_every_file_is_what_it_was(checkout):
    files = [path for pattern in PATTERNS for path in Path().glob(pattern)]
    assert len(files) > len(PATTERNS)
    changed = [path for path in files if not filecmp.cmp(path, checkout / path, shallow=False)]
    assert not changed


def test_predict_sh_runs(checkout, tmp_path):
    (checkout / ".venv").symlink_to(sys.prefix)
    toy = checkout / "tests" / "app" / "toy_weights"
    subprocess.run(
        ["sh", checkout / "predict.sh", checkout / "samples/images", tmp_path, "--weights", toy],
        check=True,
    )
    assert [path.name for path in tmp_path.glob("*.tiff")] == ["dsb2018-f6863b83d75e_label.tiff"]
