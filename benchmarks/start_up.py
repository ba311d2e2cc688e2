"""How long a user waits: process start to the first inference, and to the end, for one image.

    python -m benchmarks.start_up [IMAGE] [--runs 9]

Each run is a fresh process that does what ``python -m app`` does. Without IMAGE a sample is
resized to 512 x 512. Prints medians, in seconds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from app.files.open import read_image

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "samples" / "images" / "dsb2018-ac8169a0debe.png"

# Runs in the fresh process: the command line, with a clock around the detector's first call.
CHILD = """
import json, sys, time
started, source, target = float(sys.argv[1]), sys.argv[2], sys.argv[3]
from app import predict
from app.running import run as runs
from app.running.options import parse
marks = {}
def timed(session):
    run = make(session)
    def first(batch):
        marks.setdefault("to first inference", time.time() - started)
        return run(batch)
    return first
make, predict.runner = predict.runner, timed
status = runs.run(parse([source, target]))
print(json.dumps(marks))
sys.exit(status)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = options.image or resized_sample(folder / "sample.png")
        results = [run_once(image.resolve(), folder / "out") for _ in range(options.runs)]
    for what in results[0]:
        seconds = sorted(result[what] for result in results)
        print(f"{what}: {statistics.median(seconds):.2f} s ({seconds[0]:.2f} to {seconds[-1]:.2f})")


def resized_sample(path: Path) -> Path:
    """A sample as a 512 x 512 image."""
    cv2.imwrite(str(path), cv2.resize(np.asarray(read_image(SAMPLE), np.uint8), (512, 512)))
    return path


def run_once(image: Path, output: Path) -> dict[str, float]:
    """Seconds of one fresh process."""
    started = time.time()
    command = [sys.executable, "-c", CHILD, str(started), str(image), str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {**json.loads(done.stdout), "whole process": time.time() - started}


if __name__ == "__main__":
    main()
