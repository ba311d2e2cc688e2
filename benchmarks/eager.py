"""How much faster the predictor is than the same networks in plain PyTorch.

    python -m benchmarks.eager [--weights weights] [--megapixels 2 9]

The networks in PyTorch take their weights from the graphs of floats, and run as the published code
runs them: every window is a square of 1536 pixels, to which small images are enlarged and padded;
crops go through the segmenter 96 at a time; each mask is resized to a whole window before it is
written there. What the published code does beyond that (merging windows, reading the image again)
is left out. Both show an image in the usual look, since it is the networks that are compared. Both
start with a decoded image and loaded models, on all cores. The images are the samples, and for each
size a sample repeated up to it. Prints the seconds of both for each image, and their ratio.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torchvision.ops import nms

from app.files.open import find_images, read_image
from app.normalise import normalise
from app.predict import Predictor, predict
from app.processor import available_threads
from app.segment import round_boxes
from app.settings import Method, load_settings
from benchmarks.memory import DENSE, ROOT, make_image
from training.config import load_config, model_of
from training.epochs import window_starts
from training.export import ExportedDetector, ExportedSegmenter
from training.initial_weights import load_graph
from training.models.detector import Detector
from training.models.segmenter import Segmenter
from training.report.markdown import head

_CONFIG = ROOT / "training" / "configs" / "shipped.toml"
_BATCH = 96  # crops
_RUNS = 3  # of an image up to a megapixel


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, default=ROOT / "weights")
    parser.add_argument("--megapixels", type=int, nargs="*", default=[2, 9])
    options = parser.parse_args()
    torch.set_num_threads(available_threads())
    ours = Predictor(options.weights, "cpu", available_threads())
    method = replace(ours.method, look_pixels=0)
    detector, segmenter = load_networks(options.weights, method)
    print(head(["image", "megapixels", "instances", "eager, s", "ours, s", "ratio"]))
    with tempfile.TemporaryDirectory() as name:
        images = find_images(ROOT / "samples" / "images")
        for size in options.megapixels:
            side = round((size * 1e6) ** 0.5)
            images.append(Path(name, f"repeated_{size}.tiff"))
            make_image(images[-1], (side, side), *DENSE)
        for path in images:
            image = np.atleast_3d(read_image(path))
            runs = _RUNS if image.shape[0] * image.shape[1] < 1e6 else 1
            graphs = ours.detector, ours.segmenter, method
            slow = median_seconds(partial(eager, image, detector, segmenter, method), runs)
            fast = median_seconds(partial(predict, image, *graphs), runs)
            count = predict(image, *graphs).labels.count
            megapixels = image.shape[0] * image.shape[1] / 1e6
            print(
                f"| {path.name} | {megapixels:.2f} | {count:,} | {slow:.2f} | {fast:.2f} "
                f"| {slow / fast:.1f} |",
                flush=True,
            )


def load_networks(weights: Path, method: Method) -> tuple[ExportedDetector, ExportedSegmenter]:
    """The networks of a folder of weights as PyTorch has them."""
    # Of the last stages, which made the weights.
    sizes = {model_of(stage): stage.size for stage in load_config(_CONFIG).stages.values()}
    detector = ExportedDetector(Detector(sizes["detector"]))
    segmenter = ExportedSegmenter(Segmenter(sizes["segmenter"]), method.crop_size)
    settings = load_settings(weights)
    some = [torch.rand((1, 3, 2 * method.crop_size, 2 * method.crop_size)) * 255]
    load_graph(detector.detector, weights / settings.detector["cpu"].file, some)
    load_graph(segmenter.segmenter, weights / settings.segmenter["cpu"].file, some)
    return detector, segmenter


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """Seconds of a call, after one that doesn't count."""
    seconds = []
    for _ in range(runs + 1):
        started = time.monotonic()
        work()
        seconds.append(time.monotonic() - started)
    return statistics.median(seconds[1:])


@torch.inference_mode()
def eager(
    image: NDArray[Any], detector: nn.Module, segmenter: nn.Module, method: Method
) -> list[NDArray[np.uint16]]:
    """The label image (1536, 1536) of each window of an image."""
    labels = []
    shape = (image.shape[0], image.shape[1])
    tops, lefts = (window_starts(side, method.window, method.stride) for side in shape)
    for y, x in itertools.product(tops, lefts):
        window = image[y : y + method.window, x : x + method.window]
        part = normalise(window, method.low_percentile, method.high_percentile)
        factor = method.window / max(part.shape[:2])
        small = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        square = np.full((method.window, method.window, 3), method.pad_value, np.uint8)
        square[: small.shape[0], : small.shape[1]] = small
        boxes, scores = (output[0] for output in detector(torch.from_numpy(square)[None]))
        good = scores > method.score_threshold
        boxes, scores = boxes[good], scores[good]
        found = boxes[nms(boxes, scores, method.nms_iou)].numpy()
        label = np.zeros((method.window, method.window), np.uint16)
        rounded = round_boxes(found, label.shape)
        for start in range(0, len(rounded), _BATCH):
            batch = rounded[start : start + _BATCH]
            size = (method.crop_size, method.crop_size)
            crops = [cv2.resize(square[b:d, a:c], size) for a, b, c, d in batch]
            (masks,) = segmenter(torch.from_numpy(np.stack(crops)))
            for number, ((a, b, c, d), mask) in enumerate(
                zip(batch, masks.numpy(), strict=True), start + 1
            ):
                whole = np.zeros(label.shape, np.float32)
                whole[b:d, a:c] = cv2.resize(mask, (int(c - a), int(d - b)))
                label[whole > method.mask_threshold] = number
        labels.append(label)
    return labels


if __name__ == "__main__":
    main()
