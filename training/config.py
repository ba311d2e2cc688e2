"""Training configurations: TOML files read into frozen dataclasses.

A file has a table ``method``, the numbers that prediction shares; tables ``detector`` and
``segmenter``, what the stages of each have in common; and for each stage a table ``stage.NAME``
with the ``model`` it trains and the keys in which it differs. A file that ``extends`` another one
needs only what differs from that. Unknown and missing keys are errors.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.settings import Method, SettingsError, build


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """What the training of both models has in common."""

    start: str
    """The stage of this file whose best weights this one starts from; "" for random ones."""
    size: str
    """A key of SIZES in detector.py or segmenter.py."""
    steps: int
    """0 where ``epochs`` says how many."""
    epochs: float
    """Passes over all windows (detector) or cells (segmenter); 0 where ``steps`` is given."""
    batch: int
    """Of all processes together."""
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
    balance: float
    """0 draws every image equally often, 1 every modality of every source; between, a mixture."""
    sources: dict[str, float]
    """Factor of a source's probability; 1 where not named, 0 leaves it out."""
    unlabelled: float
    """Share of the samples that come from pseudo-labelled images; 1/6 is 5 : 1."""

    checkpoint_steps: int
    """Steps between checkpoints and lines of the log."""
    validation_steps: int


@dataclass(frozen=True, kw_only=True)
class DetectorConfig(StageConfig):
    """The detector's own."""

    crop: int
    """Side of a training crop in pixels."""
    window_stride: int
    """Crops are windows this far apart, each drawn once an epoch; 0 cuts them anywhere."""
    mosaic: float
    """Probability of a crop made of four."""
    mixup: float
    """Probability that a mosaic is blended with another crop."""
    scale: list[float]
    """Lowest and highest of the random scale, on top of what prediction applies; log-uniform."""
    multi_scale: list[float]
    """Lowest and highest size of a whole batch, as a share of ``crop``."""
    rotation: float
    """Probability of a rotation by any angle; flips and right angles always happen."""
    last_share: float
    """Share of the steps, at the end, without mosaic and mixup and with the L1 term."""


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig(StageConfig):
    """The segmenter's own."""

    jitter: float
    """Probability that a box is moved: each side by up to a fifth of half the box's length."""


KINDS: dict[str, type[DetectorConfig] | type[SegmenterConfig]] = {
    "detector": DetectorConfig,
    "segmenter": SegmenterConfig,
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole configuration file."""

    method: Method
    stages: dict[str, DetectorConfig | SegmenterConfig]
    """By name, in the order of the file."""


def load_config(path: Path) -> Config:
    """Read a configuration.

    Raises:
        SettingsError: a key is unknown, missing or of the wrong type; file and key are named.
    """
    tables = _read(path)
    if unknown := sorted(tables.keys() - {"method", "stage", *KINDS}):
        raise SettingsError(f"{path}: unknown key {unknown[0]!r}; remove it")
    method = build(Method, tables.get("method", {}), path, "method.")
    stages: dict[str, DetectorConfig | SegmenterConfig] = {}
    for name, table in tables.get("stage", {}).items():
        within = f"stage.{name}."
        model = table.get("model")
        if model not in KINDS:
            raise SettingsError(f"{path}: {within}model is {model!r}; wanted {' or '.join(KINDS)}")
        values = {key: value for key, value in table.items() if key != "model"}
        stage = build(KINDS[model], {**tables.get(model, {}), **values}, path, within)
        if stage.start and not isinstance(stages.get(stage.start), type(stage)):
            raise SettingsError(
                f"{path}: {within}start is {stage.start!r}; an earlier {model} stage was wanted"
            )
        if bool(stage.steps) == bool(stage.epochs):
            raise SettingsError(f"{path}: {within}steps or epochs must be 0, and not both")
        stages[name] = stage
    return Config(method=method, stages=stages)


def model_of(stage: DetectorConfig | SegmenterConfig) -> str:
    """The name of the model that a stage trains."""
    return next(name for name, kind in KINDS.items() if isinstance(stage, kind))


def _read(path: Path) -> dict[str, Any]:
    """The tables of a file, upon those of the file that it extends."""
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: can't be read ({error.strerror})") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML ({error})") from error
    base = tables.pop("extends", None)
    return tables if base is None else _merge(_read(path.parent / base), tables)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged
