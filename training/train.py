"""Train the detector or the segmenter; stop it at any time, and resume by the same command.

    python -m training.train training/configs/shipped.toml STAGE DATA RUN
    torchrun --nproc-per-node 4 -m training.train training/configs/paper.toml STAGE DATA RUN

STAGE is one of the configuration's; DATA a data set in the challenge's layout (training/layout.py).
RUN/STAGE receives checkpoint.pt (the state to resume from), best.pt (the averaged weights that
scored best on split ``val``), log.csv and curve.png. A sample depends on the seed and its number
alone, so a resumed run continues with just what an unbroken one would have seen. A stage that
starts from another one, or cuts its crops by another one's ``boxes``, takes RUN/OTHER/best.pt; one
with ``unlabelled`` samples takes the pseudo-labels in RUN/pseudo, which are made by
training/prepare/pseudo_label.py. With ``--start FILE`` it starts from another best.pt, from the
ONNX graph of shipped weights, or from a checkpoint of the public YOLOX repository, such as its
yolox_s.pth, trained on COCO.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from app.settings import Method
from training import processes
from training.cells import with_predicted_boxes
from training.checkpoints import CHECKPOINT
from training.command import command_parser, user_errors
from training.config import BaselineConfig, DetectorConfig, Stage, load_config
from training.data import load_labelled
from training.errors import InputError
from training.export import ExportedDetector, load_model, runner
from training.ignored import IGNORED, with_ignored
from training.initial_weights import load_start
from training.models.baseline import BaselineTask
from training.models.detector import Detector
from training.tasks import DetectorTask, SegmenterTask, Task, floats
from training.trainer import Trainer, best_device

PSEUDO = "pseudo"  # folder of the pseudo-labels in that of a run
_START_IMAGES = 512  # that the batch norms of an exported graph are set by


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = command_parser(__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("stage")
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--start", type=Path, help="best.pt, .onnx or yolox_*.pth to start from")
    options = parser.parse_args(arguments)
    with processes.joined(), user_errors(parser):
        config = load_config(options.config)
        if options.stage not in config.stages:
            raise InputError(
                f"{options.config}: no stage {options.stage}; it has {', '.join(config.stages)}"
            )
        stage = config.stages[options.stage]
        torch.manual_seed(stage.seed)
        task = make_task(stage, config.method, options.data, options.run)
        folder = options.run / options.stage
        start = options.start or (stage.start and options.run / stage.start / "best.pt")
        if start and not (folder / CHECKPOINT).exists():
            load_start(task.model, start, lambda: draw_batches(task))
        trainer = Trainer(task, config.method, folder)
        try:
            trainer.run()
        except FloatingPointError as error:
            parser.exit(1, f"{parser.prog}: error: {error}\n")
    return 0


def draw_batches(task: Task) -> Iterator[Tensor]:
    """The images of the first samples, in batches (B, 3, H, W) float32 RGB in [0, 255]."""
    batch = task.config.batch
    for first in range(0, _START_IMAGES, batch):
        images = task.collate([task.samples[first + n] for n in range(batch)])[0]
        yield floats(images, task.model)


def make_task(stage: Stage, method: Method, data: Path, run: Path) -> Task:
    """The task of a stage, with its images in memory."""
    train, val = (load_labelled(data, split, method) for split in ("train", "val"))
    unlabelled = load_labelled(run / PSEUDO, "train", method) if stage.unlabelled else []
    if isinstance(stage, DetectorConfig):
        if unlabelled:
            unlabelled = with_ignored(unlabelled, run / PSEUDO / IGNORED)
        if stage.ignored:
            train = with_ignored(train, run / stage.ignored)
        return DetectorTask(stage, method, train, val, unlabelled)
    if isinstance(stage, BaselineConfig):
        return BaselineTask(stage, method, train, val)
    if stage.boxes:
        model, _ = load_model(run / stage.boxes / "best.pt")
        assert isinstance(model, Detector)  # the configuration says so
        detector = runner(ExportedDetector(model.to(best_device())))
        train = [with_predicted_boxes(image, detector, method) for image in train]
    return SegmenterTask(stage, method, train, val, unlabelled)


if __name__ == "__main__":
    sys.exit(main())
