"""The package as users get it: built, installed into a fresh environment, run elsewhere."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile

from app.version import STAMP, __version__

SAMPLE = Path("samples/images/dsb2018-f6863b83d75e.png").absolute()
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]

BESIDE = {".html", ".css", ".js", ".txt", ".yaml"}  # what the code reads

pytestmark = pytest.mark.smoke


@dataclass
class Installed:
    """A fresh environment with the wheel in it, and a folder that is not the checkout."""

    wheel: Path
    commit: str
    programs: Path
    folder: Path

    def __call__(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs in the folder, without what points elsewhere."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        command = [str(self.programs / program), *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )


def done(*command: str | Path, cwd: Path | None = None) -> str:
    ended = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    asked = [*PIP, "download", "--quiet", "--no-deps", "--dest", str(folder / "asked"), "tqdm"]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("no package index can be reached, and installing needs one")
    # Built in a copy, for setuptools leaves what it makes beside the sources.
    source = folder / "source"
    for name in ("app", "weights"):
        shutil.copytree(name, source / name, ignore=shutil.ignore_patterns("__pycache__", STAMP))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "CITATION.cff"):
        shutil.copy(name, source)
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        done(*git, *arguments, cwd=source)
    commit = done(*git, "rev-parse", "HEAD", cwd=source)
    done(*PIP, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder / "wheels", source)
    (wheel,) = (folder / "wheels").iterdir()
    done(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    done(*PIP, "--python", python, "install", "--quiet", wheel)
    (folder / "elsewhere").mkdir()
    return Installed(wheel, commit, python.parent, folder / "elsewhere")


def test_the_wheel_holds_the_predictor_and_its_weights_alone(installed):
    names = set(zipfile.ZipFile(installed.wheel).namelist())
    code = {path.relative_to("app").as_posix() for path in Path("app").rglob("*.py")}
    settings = json.loads(Path("weights/settings.json").read_text())
    graphs = [*settings["detector"].values(), *settings["segmenter"].values()]
    weights = {"settings.json", "README.md", *(graph["file"] for graph in graphs)}
    rooms = Path("app").rglob("*")
    beside = {p.relative_to("app").as_posix() for p in rooms if p.suffix in BESIDE}
    wanted = code | beside | {STAMP, "CITATION.cff"} | {f"weights/{name}" for name in weights}
    assert {name for name in names if ".dist-info/" not in name} == {f"vsm/{w}" for w in wanted}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    (points,) = (name for name in names if name.endswith("entry_points.txt"))
    assert "[napari.manifest]" in zipfile.ZipFile(installed.wheel).read(points).decode()


def test_the_command_tells_its_version(installed):
    ended = installed("vsm", "--version")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"vsm {__version__}, commit {installed.commit}\npython 3.")
    assert installed("vsm", "--help").stdout.startswith("usage: vsm ")


def test_the_command_and_the_segmenter_find_the_same_cells(installed):
    ended = installed("vsm", str(SAMPLE), "out", "--results", "all")
    assert ended.returncode == 0, ended.stderr
    assert "cff-version" in (installed.folder / "out" / "report.html").read_text()
    report = json.loads((installed.folder / "out" / "run.json").read_text())
    assert (report["version"], report["commit"]) == (__version__, installed.commit)
    label = tifffile.imread(installed.folder / "out" / f"{SAMPLE.stem}_label.tiff")
    code = (
        "import cv2, numpy, vsm;"
        f"image = cv2.imread({str(SAMPLE)!r}, cv2.IMREAD_UNCHANGED);"
        "found = vsm.Segmenter().segment(image);"
        "numpy.save('labels.npy', found.labels);"
        "print(vsm.__version__, len(found.boxes), len(found.scores))"
    )
    ended = installed("python", "-c", code)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split() == [__version__, str(label.max()), str(label.max())]
    assert label.max() > 50
    np.testing.assert_array_equal(np.load(installed.folder / "labels.npy"), label)


def test_no_other_package_is_installed(installed):
    ended = installed("python", "-c", "import app")
    assert "No module named 'app'" in ended.stderr
    ended = installed("python", "-c", "import training")
    assert "No module named 'training'" in ended.stderr
