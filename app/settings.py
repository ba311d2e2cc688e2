"""The numbers of the method and the identity of the weights, as they lie beside the graphs."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from .processor import Processor

FILE_NAME = "settings.json"
_HERE = Path(__file__).parent
# Installed they lie inside the package; in a checkout and in the image, beside it.
WEIGHTS = (_HERE if (_HERE / "weights").is_dir() else _HERE.parent) / "weights"


class SettingsError(ValueError):
    """Weights that can't be used: names the file, the key or hash, and what to do."""


class Range(NamedTuple):
    """The values that a number may have, both ends included."""

    low: float
    high: float = math.inf


# Of what a user may ask for: a cell's diameter in pixels, and by how much an image is enlarged.
DIAMETERS, MAGNIFICATIONS = Range(2, 100_000), Range(1 / 16, 16)

Share = Annotated[float, Range(0, 1)]
Percentile = Annotated[float, Range(0, 100)]
Factor = Annotated[float, MAGNIFICATIONS]
Weight = Annotated[float, Range(0)]
Amount = Annotated[int, Range(0)]
Count = Annotated[int, Range(1)]


@dataclass(frozen=True, kw_only=True)
class Method:
    """Every number of the method, each of which may change a result; training and prediction share
    them."""

    low_percentile: Percentile
    """Percentile of the non-zero pixels of a channel that becomes 0."""
    high_percentile: Percentile
    """Percentile that becomes 255."""
    window: Count
    """Side of a detector window, pixels."""
    stride: Count
    """Step from window to window, pixels."""
    max_magnification: Annotated[float, Range(1, 16)]
    """Images smaller than a window are enlarged up to the window, but by no more than this."""
    magnifications: list[Factor]
    """Other ones, as shares of that, at which the look tries an image; none keeps the usual one."""
    look_pixels: Amount
    """Pixels that the detector gets to try each way of showing an image, at most, or a hundredth
    of the image if that is more; 0 shows every image in the usual way."""
    look_score_weight: Weight
    """What a higher mean score counts for, against the logarithm of all scores by size."""
    look_enlarged_penalty: Weight
    """By how much more certain the detector must be of an image that is enlarged e times."""
    look_few_penalty: Weight
    """By how much more certain it must be where only one cell of a part of the image says so; of n
    cells it is this over their square root."""
    sure_score: Share
    """An image is not tried larger where the mean score is at least this, 0-1,"""
    sure_size: Weight
    """and the median cell no smaller than this at detection scale, pixels."""
    channel_margin: Weight
    """By how much more certain it must be of some channels than of the usual ones."""
    limits_margin: Weight
    """The same of other limits of brightness."""
    large_margin: Weight
    """The same of enlarging an image that doesn't fit into a window."""
    usual_diameter: Annotated[float, Range(1)]
    """Cells of this size at detection scale are found best, pixels: what ``--diameter`` aims at."""
    min_look_score: Share
    """A way in which the mean score is lower shows hardly anything that is a cell, 0-1."""
    min_look_size: Weight
    """Cells that are smaller than this where an image is enlarged are noise, pixels."""
    max_look_growth: Weight
    """A way in which cells cover more than this many times the usual area shows something else."""
    pad_value: Annotated[int, Range(0, 255)]
    """Grey level, 0-255, that fills a window up to a multiple of ``granularity``."""
    granularity: Count
    """Sides of the detector's input are multiples of this."""
    min_content: Share
    """Of an image of several windows the detector sees only where something differs from what is
    around it by more than this share of the range from black to white, 0-1."""
    seam_margin: Weight
    """A box this near to an inner window edge counts as cut by it, pixels at detection scale."""
    score_threshold: Share
    """Boxes at or below this score are dropped, 0-1."""
    nms_iou: Annotated[float, Range(0.01, 1)]
    """A box that overlaps a better one by more than this is dropped, 0-1."""
    crop_size: Count
    """Side of a segmenter crop, pixels."""
    crop_margin: Weight
    """A crop reaches this far out of its box on each side, as a share of the box's width or
    height: a box that lies a little off then cuts no cell."""
    mask_threshold: Share
    """Pixels above this probability are the cell, 0-1."""
    min_area: Amount
    """Instances of fewer pixels are dropped."""
    min_visible: Share
    """An instance is dropped where better ones cover all but less than this share of it, 0-1."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """How much of a machine is used; none of these changes a result."""

    window_batch: Count
    """Windows that go through the detector together on a GPU; on a CPU, which gains nothing by
    it, one does."""
    crop_batch: Count
    """Crops that go through the segmenter together."""
    gpu_memory: Count
    """Bytes that each of the two graphs may take of a GPU's memory."""
    working_memory: Count
    """Resident bytes that prediction takes beside the image: python -m benchmarks.memory."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One ONNX file and where it comes from."""

    file: str
    """Name of the file beside the settings."""
    sha256: str
    """Hash of the file, lower-case hexadecimal."""
    trained: str
    """How and on what the weights were trained."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that the predictor needs to know beside the image.

    A model has a graph for ``cpu``, which runs on any processor, and may have others.
    """

    method: Method
    resources: Resources
    detector: Mapping[Processor, Graph]
    segmenter: Mapping[Processor, Graph]


def load_settings(folder: Path) -> Settings:
    """Read ``settings.json``.

    Args:
        folder: holds ``settings.json`` and the graphs it names.

    Raises:
        SettingsError: the file is missing, a key is unknown or missing, or a value has the wrong
            type.
    """
    path = folder / FILE_NAME
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path}: can't be read ({error.strerror})") from error
    except ValueError as error:
        raise SettingsError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: holds a {type(values).__name__}, an object was wanted")
    for role in ("detector", "segmenter"):
        if role in values:
            values[role] = _build_graphs(values[role], path, role)
    for part, kind in (("method", Method), ("resources", Resources)):
        if part in values:
            values[part] = build(kind, values[part], path, f"{part}.")
    settings = build(Settings, values, path)
    check_method(settings.method, path)
    return settings


def check_method(method: Method, path: Path) -> None:
    """See that numbers which are good each by itself go together.

    Raises:
        SettingsError: they don't; names ``path`` and the key.
    """
    if method.stride % method.granularity or method.stride >= method.window:
        raise SettingsError(
            f"{path}: 'method.stride' is {method.stride}; a multiple of 'granularity', "
            f"{method.granularity}, below 'window', {method.window}, was wanted"
        )
    if method.low_percentile >= method.high_percentile:
        raise SettingsError(
            f"{path}: 'method.low_percentile' is {method.low_percentile}; less than "
            f"'high_percentile', {method.high_percentile}, was wanted"
        )


def graph_path(folder: Path, graphs: Mapping[Processor, Graph], processor: Processor) -> Path:
    """The graph of a model for a processor.

    Args:
        folder: of the settings.
        graphs: of the model, from the settings.
        processor: takes the graph for ``cpu`` where it has none of its own.

    Raises:
        SettingsError: the file is missing, or it is not the one that the settings name.
    """
    graph = graphs.get(processor, graphs["cpu"])
    path = folder / graph.file
    try:
        found = sha256(path)
    except OSError as error:
        raise SettingsError(f"{path}: can't be read ({error.strerror})") from error
    if found != graph.sha256:
        raise SettingsError(
            f"{path}: its SHA-256 is {found}, but the settings name {graph.sha256}; "
            "restore the file or export it again"
        )
    return path


Record = TypeVar("Record")


def build(kind: type[Record], values: Mapping[str, Any], path: Path, within: str = "") -> Record:
    """A dataclass from a mapping that must hold just its keys, with values of their types.

    Args:
        within: for messages, the keys under which the mapping lies, each with a dot.

    Raises:
        SettingsError: names ``path`` and the key.
    """
    if not isinstance(values, Mapping):
        name = within.rstrip(".")
        raise SettingsError(f"{path}: {name!r} is {values!r}; an object was wanted")
    hints = get_type_hints(kind, include_extras=True)
    types = {field.name: hints[field.name] for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(values.keys() - types.keys()):
        raise SettingsError(f"{path}: unknown key {within + unknown[0]!r}; remove it")
    if missing := sorted(types.keys() - values.keys()):
        raise SettingsError(f"{path}: key {within + missing[0]!r} is missing; add it")
    for key, value in values.items():
        if problem := _problem(value, types[key]):
            raise SettingsError(f"{path}: {within + key!r} is {problem} was wanted")
    return kind(**values)


def sha256(path: Path) -> str:
    """Hash of a file, lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _problem(value: Any, wanted: Any) -> str | None:
    """What is wrong with a value, and a description of what was wanted; None for nothing."""
    if get_origin(wanted) is list and isinstance(value, list):
        return next(filter(None, (_problem(item, get_args(wanted)[0]) for item in value)), None)
    kind, *limits = get_args(wanted) if get_origin(wanted) is Annotated else (wanted,)
    kind = get_origin(kind) or kind
    accepted = (int, float) if kind is float else kind
    if isinstance(accepted, type | tuple) and (
        not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool)
    ):
        return f"{value!r}; {kind.__name__}"
    for limit in limits:
        if not limit.low <= value <= limit.high:
            to = "or more" if math.isinf(limit.high) else f"to {limit.high:g}"
            return f"{value!r}; a number from {limit.low:g} {to}"
    return None


def _build_graphs(values: Any, path: Path, role: str) -> dict[Processor, Graph]:
    """The graphs of a model by the processor that each is for."""
    if not isinstance(values, Mapping):
        raise SettingsError(f"{path}: {role!r} is {values!r}; an object was wanted")
    processors = get_args(Processor)
    if unknown := sorted(values.keys() - set(processors)):
        wanted = ", ".join(processors)
        raise SettingsError(f"{path}: unknown key {f'{role}.{unknown[0]}'!r}; wanted {wanted}")
    if "cpu" not in values:
        raise SettingsError(f"{path}: key '{role}.cpu' is missing; add it")
    return {
        processor: build(Graph, graph, path, f"{role}.{processor}.")
        for processor, graph in values.items()
    }
