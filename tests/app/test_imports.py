"""The predictor starts without anything that only training needs."""

import subprocess
import sys

FORBIDDEN = ("torch", "torchvision", "onnx", "scipy", "skimage", "matplotlib", "training")


def test_the_predictor_imports_no_training():
    code = (
        "import sys, app.__main__, app.predict;"
        f"print([name for name in {FORBIDDEN} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
