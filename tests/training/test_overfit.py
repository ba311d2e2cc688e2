"""Both models learn two images by heart: what a fault in samples, losses or export would prevent.

The images are squares of the samples, on which the shipped weights were chosen, not trained.
"""

import csv
import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch

from app.detect import detect
from app.predict import outline
from training.config import load_config
from training.data import Labelled, load_labelled
from training.export import ExportedDetector, ExportedSegmenter, load_model, runner
from training.metric import score_image
from training.tasks import DetectorTask, SegmenterTask, box_f1
from training.trainer import Trainer

SAMPLES = Path("samples")
SIDE = 128
# Name of a sample, top and left of the square: no cell in it is cut down to a sliver.
SQUARES = (("dsb2018-a5e695fce80d", 240, 448), ("dsb2018-ac8169a0debe", 224, 80))
CHAIN = load_config(Path("training/configs/chain.toml"))
# An image is one window, seen as it is; what an untrained segmenter says, about a half, is no cell.
# Boxes are counted without masks, which else settle which of two that overlap is a cell.
METHOD = dataclasses.replace(
    CHAIN.method,
    window=SIDE,
    stride=SIDE // 2,
    max_magnification=1.0,
    mask_threshold=0.55,
    nms_iou=0.5,
)
COMMON = {
    "photometric": 0.0,
    "ema_decay": 0.95,
    "warmup_steps": 10,
    "workers": 0,
    "precision": "float32",  # bfloat16 is slow where the CPU has none
}


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[Labelled]:
    root = tmp_path_factory.mktemp("two")
    images, labels = (root / "Train_Labeled" / name for name in ("images", "labels"))
    for folder in (images, labels):
        folder.mkdir(parents=True)
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "image", "source", "modality", "split"))
        for name, top, left in SQUARES:
            square = np.s_[top : top + SIDE, left : left + SIDE]
            image = cv2.imread(str(SAMPLES / "images" / f"{name}.png"))
            assert image is not None
            cv2.imwrite(str(images / f"{name}.png"), image[square])
            label = tifffile.imread(SAMPLES / "labels" / f"{name}_label.tiff")
            tifffile.imwrite(labels / f"{name}_label.tiff", label[square])
            writer.writerow((name, f"{name}.png", "dsb2018", "Fluo", "train"))
    return load_labelled(root, "train", METHOD)


def trained(task, folder):
    """The model that predicts, with the averaged weights of the last step."""
    steps = task.config.steps
    task.config = dataclasses.replace(task.config, validation_steps=steps, checkpoint_steps=steps)
    Trainer(task, METHOD, folder).run()
    return load_model(folder / "best.pt")[0]


def test_the_detector_finds_the_cells_of_two_images(two, tmp_path):
    torch.manual_seed(1)
    stage = dataclasses.replace(
        CHAIN.stages["first"],
        **COMMON,
        size="nano",
        crop=SIDE,
        window_stride=SIDE,  # each step sees both twice
        batch=4,
        steps=500,
        learning_rate=2e-3,
        mosaic=0.0,
        rotation=0.0,
        scale=[1.0, 1.0],
        last_share=0.4,
    )
    task = DetectorTask(stage, METHOD, two, two)

    def f1(model):
        run = runner(ExportedDetector(model))
        return np.mean([box_f1(detect(i.image, run, METHOD)[0], i.boxes) for i in two])

    assert f1(task.model) < 0.1
    assert f1(trained(task, tmp_path)) > 0.95


def test_the_segmenter_outlines_the_cells_of_two_images(two, tmp_path):
    torch.manual_seed(1)
    stage = dataclasses.replace(
        CHAIN.stages["segmenter"],
        **COMMON,
        batch=32,
        steps=150,
        learning_rate=3e-3,
        jitter=0.0,
    )
    task = SegmenterTask(stage, METHOD, two, two)

    def f1(model, iou):
        run = runner(ExportedSegmenter(model, METHOD.crop_size))
        found = [outline(i.image, i.boxes, run, METHOD).labels[:, :] for i in two]
        # With a frame: the score leaves out what touches an image's edge.
        pairs = [
            (np.pad(i.label, 8), np.pad(label, 8)) for i, label in zip(two, found, strict=True)
        ]
        return np.mean([score_image(*pair, thresholds=(iou,))[0].f1 for pair in pairs])

    assert f1(task.model, 0.6) < 0.1
    model = trained(task, tmp_path)
    assert f1(model, 0.6) > 0.95 and f1(model, 0.75) > 0.9
