"""predict.sh, from wherever it is called; and an environment that lacks what it needs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.app.command_line import LABEL, TOY, outputs, write


def test_predict_sh_from_another_folder(folder):
    write(folder / "in" / "a.png")
    shutil.copytree("app", folder / "repo" / "app")
    shutil.copytree(TOY, folder / "repo" / "weights")
    shutil.copy("predict.sh", folder / "repo")
    (folder / "app").mkdir()  # another app, in the caller's folder, must not be taken for ours
    (folder / "app" / "__main__.py").write_text("raise SystemExit(9)")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "repo/predict.sh", "in", "out"], cwd=folder, env=environment, check=False
    )
    assert done.returncode == 0
    np.testing.assert_array_equal(tifffile.imread(folder / "out" / "a_label.tiff"), LABEL)


def test_predict_sh_through_a_link(folder):
    write(folder / "in" / "a.png")
    (folder / "there").mkdir()
    (folder / "there" / "segment").symlink_to(Path("predict.sh").resolve())
    (folder / "again").symlink_to("there/segment")
    arguments = [str(a) for a in ("in", "out", "--weights", TOY.resolve(), "--device", "cpu")]
    done = subprocess.run(["sh", "again", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert outputs(folder / "out") == ["a_label.tiff", "run.json"]


def test_an_environment_without_the_libraries_is_told_in_a_line(folder):
    write(folder / "in" / "a.png")
    script = (
        "import sys; sys.modules['cv2'] = None; from app import __main__ as command; "
        "sys.exit(command.main(['in', 'out']))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "lacks the package cv2; run 'make run'" in done.stderr


@pytest.mark.skipif(Path("/workspace").exists(), reason="it is what predict.sh would run on")
@pytest.mark.parametrize("options", [[], ["--threads", "1"]])
def test_predict_sh_without_folders(options):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["sh", "predict.sh", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: /workspace/inputs: no such file or folder")
