"""Training configurations: TOML files read into frozen dataclasses.

A file has a table ``method``, the numbers that prediction shares; tables ``detector``,
``segmenter`` and ``baseline``, what the stages of each have in common; for each stage a table
``stage.NAME`` with the ``model`` it trains and the keys in which it differs; and, where systems
of stages are to be compared, a table ``system.NAME`` for each. A file that ``extends`` another one
needs only what differs from that; stages and systems it has its own. Unknown and missing keys are
errors.
"""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from app.settings import Method, Resources, SettingsError, build, check_method


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """What the stages of all models have in common."""

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
    precision: Literal["bfloat16", "float32"]
    """Of the models' arithmetic; weights, and the arithmetic of the losses, are float32."""
    clip_norm: float
    """Gradients with a larger norm are scaled down to it."""
    ema_decay: float
    """Of the averaged weights, a step; it starts lower and rises to this."""

    photometric: float
    """Probability that brightness, colour, focus and noise are changed."""
    balance: float
    """0 draws every image equally often, 1 every modality of every source; between, a mixture."""
    factors: dict[str, float]
    """Factor of the probability of images whose names begin so; the longest beginning counts. 1
    where there is none, 0 leaves an image out."""
    unlabelled: float
    """Share of the samples that come from pseudo-labelled images; 1/6 is 5 : 1."""

    checkpoint_steps: int
    """Steps between checkpoints and lines of the log."""
    validation_steps: int
    """Steps between scores on split ``val``; 0 for an epoch."""

    def factor(self, name: str) -> float:
        """Factor of an image's probability; 0 where it is not trained on."""
        beginnings = [start for start in self.factors if name.startswith(start)]
        return self.factors[max(beginnings, key=len)] if beginnings else 1.0


@dataclass(frozen=True, kw_only=True)
class CropConfig(StageConfig):
    """What models have in common that see many cells at once."""

    crop: int
    """Side of a training crop in pixels."""
    window_stride: int
    """Crops are windows this far apart, each drawn once an epoch; 0 cuts them anywhere."""
    scale: list[float]
    """Lowest and highest of the random scale, on top of what prediction applies; log-uniform."""
    rotation: float
    """Probability of a rotation by any angle; flips and right angles always happen."""


@dataclass(frozen=True, kw_only=True)
class DetectorConfig(CropConfig):
    """The detector's own."""

    mosaic: float
    """Probability of a crop made of four."""
    mixup: float
    """Probability that a mosaic is blended with another crop."""
    multi_scale: list[float]
    """Lowest and highest size of a whole batch, as a share of ``crop``."""
    cell_sizes: list[float]
    """Lowest and highest side of an image's median cell, in pixels of the crop; log-uniform."""
    cell_size_share: float
    """Probability that a crop is scaled so that its cells have such a size; else by ``scale``."""
    reflect: float
    """Probability that an image which does not fill its crop is mirrored there, with its cells."""
    limits: float
    """Probability that brightness is cut at other percentiles than prediction's."""
    composites: float
    """Probability that a grey fluorescence crop becomes a coloured one of one to three stains."""
    packed: float
    """Probability that copies of a sparse grey crop's cells are laid side by side."""
    artefacts: float
    """Factor of the probabilities of dirt, captions, uneven light, lost focus, noise and JPEG;
    0 for none of them."""
    empty: float
    """Probability of a sample without a cell."""
    ignored: str
    """File in the folder of the run with boxes in which something may or may not be a cell
    (training/prepare/unlabelled_cells.py); "" for none."""
    last_share: float
    """Share of the steps, at the end, without mosaic and mixup and with the L1 term."""


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig(StageConfig):
    """The segmenter's own."""

    jitter: float
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
        SettingsError: a key is unknown, missing or of the wrong type; file and key are named.
    """
    tables = _read(path)
    if unknown := sorted(
        tables.keys() - {"method", "resources", "stage", "system", "teacher", *KINDS}
    ):
        raise SettingsError(f"{path}: unknown key {unknown[0]!r}; remove it")
    method = build(Method, tables.get("method", {}), path, "method.")
    check_method(method, path)
    resources = build(Resources, tables.get("resources", {}), path, "resources.")
    stages: dict[str, Stage] = {}
    for name, table in tables.get("stage", {}).items():
        within = f"stage.{name}."
        model = table.get("model")
        if model not in KINDS:
            raise SettingsError(f"{path}: {within}model is {model!r}; wanted {' or '.join(KINDS)}")
        values = {key: value for key, value in table.items() if key != "model"}
        stage = build(KINDS[model], {**tables.get(model, {}), **values}, path, within)
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
        for name, table in tables.get("system", {}).items()
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


def _read(path: Path) -> dict[str, Any]:
    """The tables of a file, upon those of the file that it extends."""
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: can't be read ({error.strerror})") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML ({error})") from error
    base = tables.pop("extends", None)
    if base is None:
        return tables
    common = {
        k: v for k, v in _read(path.parent / base).items() if k in ("method", "resources", *KINDS)
    }
    return _merge(common, tables)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged
