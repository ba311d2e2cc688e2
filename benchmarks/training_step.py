"""What a training step of the detector takes, and what the number of cells adds to it.

    python -m benchmarks.training_step [--size s] [--crop 640] [--batch 2] [--runs 5]

Times whole steps (forward, loss with SimOTA, backward) on random crops with 10, 100 and 1000 boxes
each, and prints medians: seconds an image, those of the loss alone, and their share.
"""

import argparse
import statistics
import time

import torch
from torch import Tensor

from training.detector import Detector
from training.losses import detection_loss

BOXES = (10, 100, 1000)  # of a crop
SIDES = (12.0, 40.0)  # of a box, pixels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="s")
    parser.add_argument("--crop", type=int, default=640, help="pixels")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = Detector(options.size).train().to(memory_format=torch.channels_last)
    images = 255 * torch.rand((options.batch, 3, options.crop, options.crop))
    images = images.contiguous(memory_format=torch.channels_last)
    print("| boxes an image | step, s an image | loss, s an image | share |")
    print("| --- | --- | --- | --- |")
    for count in BOXES:
        boxes = [random_boxes(count, options.crop) for _ in range(options.batch)]
        times = [time_step(model, images, boxes) for _ in range(options.runs + 1)][1:]
        step, loss = (statistics.median(part) / options.batch for part in zip(*times, strict=True))
        print(f"| {count} | {step:.3f} | {loss:.4f} | {loss / step:.1%} |", flush=True)


def random_boxes(count: int, side: int) -> Tensor:
    """(N, 4) float32 xyxy boxes inside a crop."""
    sizes = torch.empty((count, 2)).uniform_(*SIDES)
    corners = torch.rand((count, 2)) * (side - sizes)
    return torch.cat((corners, corners + sizes), 1)


def time_step(model: Detector, images: Tensor, boxes: list[Tensor]) -> tuple[float, float]:
    """Seconds of a step, and of its loss without the gradients."""
    started = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        predictions = model(images)
    before = time.perf_counter()
    loss = detection_loss(predictions, boxes, (images.shape[2], images.shape[3]), use_l1=True)
    after = time.perf_counter()
    loss["loss"].backward()  # type: ignore[no-untyped-call]
    return time.perf_counter() - started, after - before


if __name__ == "__main__":
    main()
