"""Training configurations: TOML files read into frozen dataclasses.

A file has a table ``method``, the numbers that prediction shares; tables ``detector``,
``segmenter`` and ``baseline``, what the stages of each have in common; for each stage a table
``stage.NAME`` with the ``model`` it trains and the keys in which it differs; and, where systems
of stages are to be compared, a table ``system.NAME`` for each. A file that ``extends`` another one
needs only what differs from that; stages and systems it has its own. Unknown and missing keys are
errors.
"""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from app.settings import (
    Amount,
    Count,
    Method,
    Range,
    Resources,
    SettingsError,
    Share,
    Weight,
    build,
    check_method,
)
from training.config_file import named_tables, read_tables
from training.models import detector, segmenter

Positive = Annotated[float, Range(0.001)]  # less makes no sense of what this is used for


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """What the stages of all models have in common."""

    start: str
    """The stage of this file whose best weights this one starts from; "" for random ones."""
    size: str
    """A key of SIZES in detector.py or segmenter.py."""
    steps: Amount
    """0 where ``epochs`` says how many."""
    epochs: Weight
    """Passes over all windows (detector) or cells (segmenter); 0 where ``steps`` is given."""
    batch: Count
    """Of all processes together."""
    seed: Amount
    workers: Amount
    """Processes that make batches beside the training; 0 makes them in the training itself."""

    optimiser: Literal["sgd", "adamw"]
    learning_rate: Weight
    """Its highest value, for the whole batch."""
    warmup_steps: Amount
    final_learning_rate: Share
    """As a share of the highest; a cosine leads to it."""
    weight_decay: Weight
    precision: Literal["bfloat16", "float32"]
    """Of the models' arithmetic; weights, and the arithmetic of the losses, are float32."""
    clip_norm: Positive
    """Gradients with a larger norm are scaled down to it."""
    ema_decay: Share
    """Of the averaged weights, a step; it starts lower and rises to this."""

    photometric: Share
    """Probability that brightness, colour, focus and noise are changed."""
    balance: Share
    """0 draws every image equally often, 1 every modality of every source; between, a mixture."""
    factors: dict[str, float]
    """Factor of the probability of images whose names begin so; the longest beginning counts. 1
    where there is none, 0 leaves an image out."""
    unlabelled: Share
    """Share of the samples that come from pseudo-labelled images; 1/6 is 5 : 1."""

    checkpoint_steps: Count
    """Steps between checkpoints and lines of the log."""
    validation_steps: Amount
    """Steps between scores on split ``val``; 0 for an epoch."""

    def factor(self, name: str) -> float:
        """Factor of an image's probability; 0 where it is not trained on."""
        beginnings = [start for start in self.factors if name.startswith(start)]
        return self.factors[max(beginnings, key=len)] if beginnings else 1.0


@dataclass(frozen=True, kw_only=True)
class VariedConfig(StageConfig):
    """How often an image is shown as another microscope might have shown it (augment/scene.py)."""

    limits: Share
    """Probability that brightness is cut at other percentiles than prediction's."""
    composites: Share
    """Probability that a grey fluorescence crop becomes a coloured one of one to three stains."""
    artefacts: Weight
    """Factor of the probabilities of dirt, captions, uneven light, lost focus, noise and JPEG;
    0 for none of them."""


@dataclass(frozen=True, kw_only=True)
class CropConfig(StageConfig):
    """What models have in common that see many cells at once."""

    crop: Count
    """Side of a training crop in pixels."""
    window_stride: Amount
    """Crops are windows this far apart, each drawn once an epoch; 0 cuts them anywhere."""
    scale: list[Positive]
    """Lowest and highest of the random scale, on top of what prediction applies; log-uniform."""
    rotation: Share
    """Probability of a rotation by any angle; flips and right angles always happen."""


@dataclass(frozen=True, kw_only=True)
class DetectorConfig(CropConfig, VariedConfig):
    """The detector's own."""

    mosaic: Share
    """Probability of a crop made of four."""
    mixup: Share
    """Probability that a mosaic is blended with another crop."""
    multi_scale: list[Positive]
    """Lowest and highest size of a whole batch, as a share of ``crop``."""
    cell_sizes: list[Positive]
    """Lowest and highest side of an image's median cell, in pixels of the crop; log-uniform."""
    cell_size_share: Share
    """Probability that a crop is scaled so that its cells have such a size; else by ``scale``."""
    reflect: Share
    """Probability that an image which does not fill its crop is mirrored there, with its cells."""
    packed: Share
    """Probability that copies of a sparse grey crop's cells are laid side by side."""
    empty: Share
    """Probability of a sample without a cell."""
    ignored: str
    """File in the folder of the run with boxes in which something may or may not be a cell
    (training/prepare/unlabelled_cells.py); "" for none."""
    last_share: Share
    """Share of the steps, at the end, without mosaic and mixup and with the L1 term."""


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig(VariedConfig):
    """The segmenter's own."""

    jitter: Share
    """Probability that a box is moved: each side by up to a fifth of half the box's length."""
    boxes: str
    """The detector stage of this file whose boxes cut out the cells that it finds; "" for the
    labels' own boxes."""


@dataclass(frozen=True, kw_only=True)
class BaselineConfig(CropConfig):
    """The end-to-end U-Net of three classes (training/models/baseline.py)."""


Stage = DetectorConfig | SegmenterConfig | BaselineConfig
KINDS: dict[str, type[Stage]] = {
    "detector": DetectorConfig,
    "segmenter": SegmenterConfig,
    "baseline": BaselineConfig,
}
SIZES = {
    "detector": tuple(detector.SIZES),
    "segmenter": (*segmenter.SIZES, segmenter.SWIN),
    "baseline": tuple(segmenter.SIZES),
}
_COMMON = ("method", "resources", *KINDS)  # tables that a file takes from the one it extends
_PAIRS = ("scale", "multi_scale", "cell_sizes")


@dataclass(frozen=True, kw_only=True)
class System:
    """Trained stages that outline cells together, as training/ablations.py compares them."""

    detector: str
    """A stage; "" where a baseline needs none."""
    segmenter: str
    views: int
    """Dihedral views of an image whose boxes are merged: 1 or 8."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole configuration file."""

    method: Method
    resources: Resources
    stages: dict[str, Stage]
    """By name, in the order of the file."""
    systems: dict[str, System]
    """What is compared, by name."""
    teacher: str
    """The system that labels the unlabelled images; "" where none does."""


def load_config(path: Path) -> Config:
    """Read a configuration.

    Raises:
        SettingsError: a key is unknown, missing, of the wrong type or out of its range; file and
            key are named.
    """
    tables = read_tables(path, _COMMON)
    if unknown := sorted(
        tables.keys() - {"method", "resources", "stage", "system", "teacher", *KINDS}
    ):
        raise SettingsError(f"{path}: unknown key {unknown[0]!r}; remove it")
    method = build(Method, tables.get("method", {}), path, "method.")
    check_method(method, path)
    resources = build(Resources, tables.get("resources", {}), path, "resources.")
    stages: dict[str, Stage] = {}
    for name, table in named_tables(tables, "stage", path):
        within = f"stage.{name}."
        model = table.get("model")
        if model not in KINDS:
            raise SettingsError(f"{path}: {within}model is {model!r}; wanted {' or '.join(KINDS)}")
        values = {key: value for key, value in table.items() if key != "model"}
        stage = build(KINDS[model], {**tables.get(model, {}), **values}, path, within)
        _check_stage(stage, path, within)
        for field in fields(stage):
            found, choices = getattr(stage, field.name), get_args(field.type)
            if get_origin(field.type) is Literal and found not in choices:
                raise SettingsError(
                    f"{path}: {within}{field.name} is {found!r}; wanted {' or '.join(choices)}"
                )
        earlier = {"start": (stage.start, model)}
        if isinstance(stage, SegmenterConfig):
            earlier["boxes"] = (stage.boxes, "detector")
        for key, (other, kind) in earlier.items():
            if other and not (other in stages and model_of(stages[other]) == kind):
                raise SettingsError(
                    f"{path}: {within}{key} is {other!r}; an earlier {kind} stage was wanted"
                )
        if bool(stage.steps) == bool(stage.epochs):
            raise SettingsError(f"{path}: {within}steps or epochs must be 0, and not both")
        stages[name] = stage
    systems = {
        name: _load_system(table, path, f"system.{name}.", stages)
        for name, table in named_tables(tables, "system", path)
    }
    teacher = tables.get("teacher", "")
    if teacher and teacher not in systems:
        raise SettingsError(f"{path}: teacher is {teacher!r}; one of the systems was wanted")
    return Config(
        method=method, resources=resources, stages=stages, systems=systems, teacher=teacher
    )


def model_of(stage: Stage) -> str:
    """The name of the model that a stage trains."""
    return next(name for name, kind in KINDS.items() if isinstance(stage, kind))


def _load_system(table: Any, path: Path, within: str, stages: dict[str, Stage]) -> System:
    system = build(System, table, path, within)
    models = [model_of(stages[s]) for s in (system.detector, system.segmenter) if s in stages]
    wanted = ["detector", "segmenter"] if system.detector else ["baseline"]
    if models != wanted or system.views not in (1, 8):
        raise SettingsError(
            f"{path}: {within[:-1]} names {system.detector!r} and {system.segmenter!r} with "
            f"{system.views} views; a detector and a segmenter stage with 1 or 8 views, or a "
            "baseline stage alone, were wanted"
        )
    return system


def _check_stage(stage: Stage, path: Path, within: str) -> None:
    """See that what no range can tell is right, too."""
    sizes = SIZES[model_of(stage)]
    if stage.size not in sizes:
        raise SettingsError(
            f"{path}: {within}size is {stage.size!r}; one of {', '.join(sizes)} was wanted"
        )
    side = getattr(stage, "crop", 0)
    if side % detector.GRANULARITY:
        raise SettingsError(
            f"{path}: {within}crop is {side}; a multiple of {detector.GRANULARITY} was wanted"
        )
    for name, factor in stage.factors.items():
        if not isinstance(factor, int | float) or not 0 <= factor < math.inf:
            raise SettingsError(
                f"{path}: {within}factors.{name} is {factor!r}; a number from 0 on was wanted"
            )
    for key in _PAIRS:
        pair = getattr(stage, key, [1.0, 1.0])
        if len(pair) != 2 or pair[0] > pair[1]:
            raise SettingsError(
                f"{path}: {within}{key} is {pair}; the lowest and the highest value were wanted"
            )
