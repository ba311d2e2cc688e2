"""What the graphs find on images, and what they take, on one device: a part of a rehearsal.

    python -m benchmarks.on_device cuda auto samples/images FOLDER

Needs the predictor's requirements alone, so that it runs also in the Docker image, in which
``benchmarks.rehearse --image`` mounts it. FOLDER receives NAME.npz (labels, boxes) for each image,
and device.json, a ``Report``. Seconds of a graph are the median of some calls, after a few that
aren't counted, with copying to and from the device.

GPU memory is what nvidia-smi tells at the end, less what it told before: all that this process
took, the CUDA context included. That is its peak, since the runtime's pool never shrinks; but let
no other process begin or end on the card meanwhile.
"""

import argparse
import dataclasses
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from app.files.open import find_images, read_image
from app.predict import Predictor
from app.processor import available_threads, kernel_text
from app.session import DeviceError, Run
from app.settings import WEIGHTS, SettingsError

REPORT = "device.json"
UNCOUNTED, COUNTED = 2, 5  # calls of a graph


@dataclass(frozen=True)
class Report:
    """One device, and what the graphs take of it."""

    provider: str
    """ONNX Runtime's name for what runs the graphs."""
    graphs: list[str]
    """Files of the detector and the segmenter."""
    runtime: str
    """Version of ONNX Runtime."""
    processor: str
    card: str | None
    """GPU and its driver; None where none is used."""
    window: int
    """Side of a detector window, pixels."""
    window_seconds: float
    """For a window, where as many go through together as in use."""
    crops: int
    crops_seconds: float
    """For all these crops."""
    memory: int
    """Bytes, at most: of the GPU if one is used, else of this process."""

    @property
    def on_gpu(self) -> bool:
        return self.card is not None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("device", choices=("auto", "cpu", "cuda"))
    parser.add_argument("precision", choices=("auto", "int8", "float"))
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    # CUDA then counts the cards as nvidia-smi does.
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    before = ask_card()
    try:
        predictor = Predictor(
            options.weights, options.device, available_threads(), precision=options.precision
        )
    except (DeviceError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not predictor.on_cpu and before is None:
        print("error: nvidia-smi, which comes with NVIDIA's driver, is missing", file=sys.stderr)
        return 2
    for path in find_images(options.images):
        found = predictor.predict(np.atleast_3d(read_image(path)))
        np.savez(options.out / f"{path.stem}.npz", labels=found.labels[:, :], boxes=found.boxes)
    report = measure(predictor, before)
    (options.out / REPORT).write_text(json.dumps(dataclasses.asdict(report)))
    return 0


def measure(predictor: Predictor, before: tuple[str, int] | None) -> Report:
    """Time both graphs, and see what memory was taken; ``before`` is of ``ask_card``."""
    method, resources = predictor.method, predictor.resources
    windows = 1 if predictor.on_cpu else resources.window_batch
    sizes = (windows, method.window), (resources.crop_batch, method.crop_size)
    rng = np.random.default_rng(1)
    batches = [rng.integers(0, 256, (n, side, side, 3), np.uint8) for n, side in sizes]
    detector, segmenter = predictor.detector, predictor.segmenter
    seconds = seconds_of(detector, batches[0]) / windows, seconds_of(segmenter, batches[1])
    card, memory = None, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if not predictor.on_cpu and before and (after := ask_card()):
        card, memory = after[0], after[1] - before[1]
    return Report(
        provider=predictor.provider,
        graphs=[graph.file for graph in predictor.graphs],
        runtime=str(onnxruntime.__version__),
        processor=processor_name(),
        card=card,
        window=method.window,
        window_seconds=seconds[0],
        crops=resources.crop_batch,
        crops_seconds=seconds[1],
        memory=memory,
    )


def seconds_of(run: Run, batch: NDArray[np.uint8]) -> float:
    """The median time of a graph for a batch: (B, H, W, 3)."""
    seconds = []
    for _ in range(UNCOUNTED + COUNTED):
        started = time.monotonic()
        run(batch)
        seconds.append(time.monotonic() - started)
    return statistics.median(seconds[UNCOUNTED:])


def ask_card() -> tuple[str, int] | None:
    """The first GPU with its driver, and the bytes in use on it; None where none answers."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0] or "0"
    command = ["nvidia-smi", "-i", first, "--format=csv,noheader,nounits"]
    command += ["--query-gpu=name,driver_version,memory.used"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    name, driver, mebibytes = done.stdout.strip().rsplit(", ", 2)
    return f"{name}, driver {driver}", int(mebibytes) * 2**20


def processor_name() -> str:
    """As the kernel has it."""
    found = re.search(r"^model name\s*: (.*)$", kernel_text(Path("/proc/cpuinfo")), re.MULTILINE)
    return found[1] if found else "unknown processor"


if __name__ == "__main__":
    sys.exit(main())
