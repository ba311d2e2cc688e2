"""How a cell is best cut out for the segmenter: ways compared by the IoU of instances on ``val``.

    python -m benchmarks.crops DATA [--steps 800]

Trains the shipped U-Net once for each way of resizing a crop (nearest; bilinear; and area, which
averages along an axis that shrinks and is bilinear along one that grows: the predictor's), with and
without a margin around the box, all with one seed and few steps. Boxes of the cells of ``val`` are
moved by chance; IoU is of the mask, sized back to the image, with the whole cell, in and out of the
box, so the ways compare fairly. The table has its mean over cells, and that of each modality.
"""

import argparse
import dataclasses
import tempfile
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from app.segment import resize, round_boxes, uncrop
from app.settings import Method
from benchmarks.memory import ROOT
from training.cells import cell_crop
from training.config import SegmenterConfig, load_config
from training.data import Labelled, load_labelled
from training.tasks import SegmenterTask, floats, means, moved_boxes
from training.train import Trainer

_CONFIG = ROOT / "training" / "configs" / "ablations.toml"
_INTERPOLATIONS = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR}


class Way(NamedTuple):
    """How a crop is made; margin: on each side, as a share of the box's."""

    interpolation: str
    margin: float


WAYS = [Way(name, margin) for name in (*_INTERPOLATIONS, "area") for margin in (0.0, 0.1)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=800)
    options = parser.parse_args()
    config = load_config(_CONFIG)
    stage = config.stages["segmenter"]
    assert isinstance(stage, SegmenterConfig)  # the configuration says so
    stage = dataclasses.replace(stage, steps=options.steps, validation_steps=options.steps)
    train, val = (load_labelled(options.data, split, config.method) for split in ("train", "val"))
    modalities = sorted({image.modality for image in val})
    heading = ["crop", "margin", "IoU", *modalities]
    print("| " + " | ".join(heading) + " |\n" + "| --- " * len(heading) + "|")
    for way in WAYS:
        torch.manual_seed(stage.seed)
        method = dataclasses.replace(config.method, crop_margin=way.margin)
        task = WayTask(stage, method, train, val, way.interpolation)
        with tempfile.TemporaryDirectory() as name:
            trainer = Trainer(task, method, Path(name))
            trainer.run()
            scores = trainer.rows[-1]
        cells = [f"{scores[key]:.4f}" for key in ("score", *modalities)]
        print(f"| {way.interpolation} | {way.margin} | " + " | ".join(cells) + " |", flush=True)


class WayTask(SegmenterTask):
    """The segmenter with one way of cutting; scored in pixels of the image."""

    def __init__(
        self,
        config: SegmenterConfig,
        method: Method,
        train: list[Labelled],
        val: list[Labelled],
        interpolation: str,
    ) -> None:
        super().__init__(config, method, train, [])
        self.method, self.images = method, val
        self.cut = self.samples.cut = partial(cut, interpolation=interpolation)

    def validate(self, model: nn.Module) -> dict[str, float]:
        scores: dict[str, list[float]] = defaultdict(list)
        for image in self.images:
            if len(image.ids):
                scores[image.modality] += self.overlaps(image, model)
        return means(scores)

    def overlaps(self, image: Labelled, model: nn.Module) -> list[float]:
        """IoU of some cells of an image with their masks."""
        cells = moved_boxes(image)
        crops = [self.cut(image, n, box, self.method)[0] for n, box in cells]
        batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
        logits = model(floats(batch, model))[0].float().cpu()
        overlaps = []
        for (n, box), mask in zip(cells, logits.softmax(1)[:, 1].numpy(), strict=True):
            x0, y0, x1, y1 = rounded(box, image, self.method)
            found = uncrop(mask, (y1 - y0, x1 - x0)) > self.method.mask_threshold
            both = int((found & (image.label[y0:y1, x0:x1] == image.ids[n])).sum())
            either = int(found.sum()) + int(image.areas[image.ids[n]]) - both
            overlaps.append(both / either)
        return overlaps


def cut(
    image: Labelled, n: int, box_xyxy: NDArray[np.float32], method: Method, interpolation: str
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """As ``training.data.cell_crop``, with an interpolation."""
    if interpolation == "area":
        return cell_crop(image, n, box_xyxy, method)
    x0, y0, x1, y1 = rounded(box_xyxy, image, method)
    mask = (image.label[y0:y1, x0:x1] == image.ids[n]).astype(np.float32)
    part, shape = image.image[y0:y1, x0:x1], (method.crop_size, method.crop_size)
    crop = cv2.resize(part, shape, interpolation=_INTERPOLATIONS[interpolation])
    return np.asarray(crop, np.uint8), resize(mask, shape)


def rounded(box_xyxy: NDArray[np.float32], image: Labelled, method: Method) -> NDArray[np.int64]:
    """A box (4,) with its margin, in whole pixels inside the image."""
    shape = (image.label.shape[0], image.label.shape[1])
    (box,) = round_boxes(box_xyxy[None], shape, method.crop_margin)
    return np.asarray(box)


if __name__ == "__main__":
    main()
