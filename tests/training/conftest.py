"""A tiny data set and configuration for the tests that train."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from app.settings import Method
from tests.training.tiny_dataset import make_dataset
from training.config import BaselineConfig, DetectorConfig, SegmenterConfig, load_config
from training.data import Labelled, load_labelled
from training.samples import DetectorSamples

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
SHIPPED = CONFIGS / "shipped.toml"
CHAIN = CONFIGS / "chain.toml"


# What is so small gains nothing by several threads, which wait for each other, and loses much where
# the cores are busy; and rounding is the same everywhere. Tests are run on all cores instead.
torch.set_num_threads(1)


@dataclasses.dataclass(frozen=True)
class TinyConfig:
    """A stage of each model."""

    method: Method
    detector: DetectorConfig
    segmenter: SegmenterConfig
    baseline: BaselineConfig


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture
def shrinking_weights(tmp_path) -> Path:
    """Toy weights by which prediction shows every image at half its size: there the two toy boxes,
    which are as sure at any size, cover more of the image."""
    folder = Path(shutil.copytree("tests/app/toy_weights", tmp_path / "shrinking"))
    settings = json.loads((folder / "settings.json").read_text())
    settings["method"] |= {
        "window": 128,
        "stride": 96,
        "look_pixels": 10**6,
        "magnifications": [0.5],
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture
def tiny_config() -> TinyConfig:
    """Stages of samples that are not varied, at the scale of a test."""
    chain = load_config(CHAIN)
    detector, segmenter = chain.stages["first"], chain.stages["segmenter"]
    baseline = load_config(CONFIGS / "ablations.toml").stages["three-class"]
    assert isinstance(detector, DetectorConfig) and isinstance(segmenter, SegmenterConfig)
    assert isinstance(baseline, BaselineConfig)
    short: dict[str, Any] = {
        "steps": 4,
        "batch": 2,
        "workers": 0,
        "warmup_steps": 2,
        "checkpoint_steps": 1,
        "validation_steps": 2,
    }
    return TinyConfig(
        method=dataclasses.replace(
            chain.method, window=192, stride=128, max_magnification=2.0, mask_threshold=0.5
        ),
        detector=dataclasses.replace(detector, **short, size="nano", crop=64, last_share=0.5),
        segmenter=dataclasses.replace(segmenter, **short),
        baseline=dataclasses.replace(baseline, **short, crop=64),
    )


@pytest.fixture
def tiny_images(tiny_data, tiny_config) -> tuple[list[Labelled], list[Labelled]]:
    train, val = (load_labelled(tiny_data, split, tiny_config.method) for split in ("train", "val"))
    return train, val


@pytest.fixture
def detector_samples(tiny_images, tiny_config) -> DetectorSamples:
    return DetectorSamples(tiny_images[0], [], tiny_config.detector, tiny_config.method)
