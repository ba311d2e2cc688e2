"""How long a training step of the detector takes, by the number of cells, and waiting for data.

    python -m benchmarks.training_step [DATA] [--size s] [--crop 640] [--batch 8] [--steps 10]

Times whole steps (forward, loss with SimOTA, backward) on random crops with 10, 100 and 1000 boxes
each, and prints medians: seconds an image, seconds of the loss alone, and their share. Freed memory
is kept for the next step, as in training; --system-memory leaves that out.

With DATA, a folder in the challenge's layout, it also trains as stage ``first`` of chain.toml
does, except for size, crop and batch, and prints what the log of that says: seconds an image,
optimiser and averaging included, and the share of them that training waits for samples.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from training.config import load_config
from training.losses import detection_loss
from training.models.detector import Detector
from training.report.markdown import head
from training.tasks import DetectorTask
from training.train import make_task
from training.trainer import Trainer, keep_freed_memory

_CONFIG = Path(__file__).parent.parent / "training" / "configs" / "chain.toml"
BOXES = (10, 100, 1000)  # of a crop
SIDES = (12.0, 40.0)  # of a box, pixels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--size", default="s")
    parser.add_argument("--crop", type=int, default=640, help="pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--system-memory", action="store_true")
    options = parser.parse_args()
    if not options.system_memory:
        keep_freed_memory()
    torch.manual_seed(0)
    model = Detector(options.size).train().to(memory_format=torch.channels_last)
    images = 255 * torch.rand((options.batch, 3, options.crop, options.crop))
    images = images.contiguous(memory_format=torch.channels_last)
    print(head(["boxes an image", "step, s an image", "loss, s an image", "share"]))
    for count in BOXES:
        boxes = [random_boxes(count, options.crop) for _ in range(options.batch)]
        times = [time_step(model, images, boxes) for _ in range(options.steps + 1)][1:]
        step, loss = (statistics.median(part) / options.batch for part in zip(*times, strict=True))
        print(f"| {count} | {step:.3f} | {loss:.4f} | {loss / step:.1%} |", flush=True)
    if options.data:
        seconds, waiting = train(options)
        print(f"in training: {seconds:.3f} s an image, {waiting:.1%} of it waiting for data")


def train(options: argparse.Namespace) -> tuple[float, float]:
    """Seconds an image, and the share of them that is spent waiting, after as many steps before."""
    config = load_config(_CONFIG)
    stage = dataclasses.replace(
        config.stages["first"],
        size=options.size,
        crop=options.crop,
        batch=options.batch,
        steps=2 * options.steps,
        checkpoint_steps=options.steps,
        validation_steps=2 * options.steps,
    )
    with tempfile.TemporaryDirectory() as folder:
        task = make_task(stage, config.method, options.data, Path(folder))
        assert isinstance(task, DetectorTask)
        task.val = task.val[:1]
        trainer = Trainer(task, config.method, Path(folder))
        trainer.run()
    row = trainer.rows[-1]
    return row["seconds"] / options.batch, row["waiting"]


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
