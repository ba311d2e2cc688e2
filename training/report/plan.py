"""What a configuration would train, without training it.

    python -m training.report.plan training/configs/paper.toml DATA

DATA is a folder in the challenge's layout; only its metadata.csv is read, which also needs the
columns height, width and instances. Prints a row for each stage: parameters, images, crops in an
epoch, steps and crops in all, and the hours that this computer would take. Those are estimated: a
few steps on one small crop are timed, and taken to grow with the pixels of a batch.
"""

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from app.settings import Method
from training.command import command_parser, user_errors
from training.config import BaselineConfig, SegmenterConfig, Stage, load_config, model_of
from training.epochs import count_steps, window_centres
from training.errors import InputError
from training.export import MODELS
from training.layout import COLUMNS, METADATA, read_split
from training.losses import detection_loss, segmentation_loss
from training.models.baseline import class_loss
from training.report import markdown
from training.trainer import keep_freed_memory

TIMED_CROP = 256  # pixels along each side, at most
TIMED_STEPS = 3
_NUMBERS = ("height", "width", "instances")
_COLUMNS = (*COLUMNS, *_NUMBERS)
TITLES = (
    "stage",
    "model",
    "starts from",
    "parameters, M",
    "images",
    "crops an epoch",
    "steps",
    "crops",
    "hours here",
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = command_parser(__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("data", type=Path)
    options = parser.parse_args(arguments)
    with user_errors(parser):
        config = load_config(options.config)
        rows = read_split(options.data, "train", columns=_COLUMNS)
        for row in rows:
            if not all(row[column].isdecimal() for column in _NUMBERS):
                found = ", ".join(row[column] for column in _NUMBERS)
                raise InputError(
                    f"{options.data / METADATA}: {', '.join(_NUMBERS)} of {row['name']} are "
                    f"{found}; whole numbers were wanted"
                )
    keep_freed_memory()  # as training does
    print(markdown.head(TITLES))
    for name, stage in config.stages.items():
        used = [row for row in rows if stage.factor(row["name"]) > 0]
        crops = sum(count_crops(row, stage, config.method) for row in used)
        steps = count_steps(stage, crops)
        model = MODELS[model_of(stage)](stage.size)
        hours = steps * seconds_per_step(model, stage, config.method) / 3600
        parameters = sum(p.numel() for p in model.parameters()) / 1e6
        cells = [name, f"{model_of(stage)} {stage.size}", stage.start or "nothing"]
        cells += [f"{parameters:.2f}", f"{len(used):,}", f"{crops:,}", f"{steps:,}"]
        cells += [f"{steps * stage.batch:,}", f"{hours:.1f}"]
        print(markdown.line(cells), flush=True)
    return 0


def count_crops(row: dict[str, str], stage: Stage, method: Method) -> int:
    """Windows or cells of an image in an epoch."""
    if isinstance(stage, SegmenterConfig):
        return int(row["instances"])
    shape = (int(row["height"]), int(row["width"]))
    return len(window_centres(shape, stage, method))


def seconds_per_step(model: nn.Module, stage: Stage, method: Method) -> float:
    """Estimated from steps on one small crop, by the pixels of a whole batch."""
    size = method.crop_size if isinstance(stage, SegmenterConfig) else stage.crop
    batch = stage.batch if isinstance(stage, SegmenterConfig) else 1
    small = min(size, TIMED_CROP)
    images = torch.rand((batch, 3, small, small)).contiguous(memory_format=torch.channels_last)
    model.train().to(memory_format=torch.channels_last)
    seconds = []
    for _ in range(TIMED_STEPS + 1):
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(255 * images)
        loss(stage, outputs, images).backward()  # type: ignore[no-untyped-call]
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:]) * stage.batch / batch * (size / small) ** 2


def loss(stage: Stage, outputs: Any, images: Tensor) -> Tensor:
    """The loss of a model's outputs, against something."""
    side = images.shape[-1]
    if isinstance(stage, BaselineConfig):
        return class_loss(
            outputs[0].float(), torch.ones((len(images), side, side), dtype=torch.int64)
        )
    if isinstance(stage, SegmenterConfig):
        return segmentation_loss(outputs[0].float(), torch.ones((len(images), side, side)))
    corners = torch.arange(8, side - 32, 32).float()
    boxes = [torch.stack((corners, corners, corners + 20, corners + 20), 1) for _ in images]
    return detection_loss(outputs, boxes, (side, side), use_l1=True)["loss"]


if __name__ == "__main__":
    sys.exit(main())
