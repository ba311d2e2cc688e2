"""Training configurations: TOML files read into frozen dataclasses."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from app.settings import Method, build


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """What the training of both models has in common."""

    size: str
    """A key of SIZES in detector.py or segmenter.py."""
    steps: int
    batch: int
    seed: int
    workers: int
    """Processes that make batches beside the training; 0 makes them in the training itself."""

    optimiser: Literal["sgd", "adamw"]
    learning_rate: float
    """Its highest value, for the whole batch."""
    warmup_steps: int
    final_learning_rate: float
    """As a share of the highest; a cosine leads to it."""
    weight_decay: float
    clip_norm: float
    """Gradients with a larger norm are scaled down to it."""
    ema_decay: float
    """Of the averaged weights, a step; it starts lower and rises to this."""

    photometric: float
    """Probability that brightness, colour, focus and noise are changed."""
    sources: dict[str, float]
    """Weight of a source against the square root of its number of images; 1 where not named."""

    checkpoint_steps: int
    """Steps between checkpoints and lines of the log."""
    validation_steps: int


@dataclass(frozen=True, kw_only=True)
class DetectorConfig(StageConfig):
    """The detector's own."""

    crop: int
    """Side of a training crop in pixels."""
    mosaic: float
    """Probability of a crop made of four."""
    scale: list[float]
    """Lowest and highest of the random scale, on top of what prediction applies; log-uniform."""
    rotation: float
    """Probability of a rotation by any angle; flips and right angles always happen."""
    last_steps: int
    """Steps at the end without mosaic and with the L1 term."""


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig(StageConfig):
    """The segmenter's own."""

    jitter: float
    """Probability that a box is moved: each side by up to a fifth of half the box's length."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole configuration file."""

    method: Method
    detector: DetectorConfig
    segmenter: SegmenterConfig


def load_config(path: Path) -> Config:
    """Read a configuration.

    Raises:
        SettingsError: a key is unknown, missing or of the wrong type; file and key are named.
    """
    tables = tomllib.loads(path.read_text())
    kinds: dict[str, Any] = {field.name: field.type for field in fields(Config)}
    parts = {
        name: build(kinds[name], table, path) if name in kinds else table
        for name, table in tables.items()
    }
    return build(Config, parts, path)
