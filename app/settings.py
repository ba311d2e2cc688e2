"""The numbers of the method and the identity of the weights, as they lie beside the graphs."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

FILE_NAME = "settings.json"
# What runs a graph: a CPU, one with fast instructions for 8-bit integers (VNNI), or a GPU.
Machine = Literal["cpu", "vnni", "cuda"]


class SettingsError(ValueError):
    """Weights that can't be used: names the file, the key or hash, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """Every number of the method; training and prediction share them."""

    low_percentile: float
    """Percentile of the non-zero pixels of a channel that becomes 0."""
    high_percentile: float
    """Percentile that becomes 255."""
    window: int
    """Side of a detector window, pixels."""
    stride: int
    """Step from window to window, pixels."""
    most_magnification: float
    """Images smaller than a window are enlarged up to the window, but by no more than this."""
    magnifications: list[float]
    """Other ones, as shares of that, at which the look tries an image; none keeps the usual one."""
    look_pixels: int
    """Pixels that the detector gets to try each way of showing an image, at most, or a hundredth
    of the image if that is more; 0 shows every image in the usual way."""
    look_score_weight: float
    """What a higher mean score counts for, against the logarithm of all scores by size."""
    look_enlarged_penalty: float
    """By how much more certain the detector must be of an image that is enlarged e times."""
    look_few_penalty: float
    """By how much more certain it must be where only one cell of a part of the image says so; of n
    cells it is this over their square root."""
    sure_score: float
    """An image is not tried larger where the mean score is at least this, 0-1,"""
    sure_size: float
    """and the median cell no smaller than this at detection scale, pixels."""
    channel_margin: float
    """By how much more certain it must be of some channels than of the usual ones."""
    limits_margin: float
    """The same of other limits of brightness."""
    large_margin: float
    """The same of enlarging an image that doesn't fit into a window."""
    usual_diameter: float
    """Cells of this size at detection scale are found best, pixels: what ``--diameter`` aims at."""
    min_look_score: float
    """A way in which the mean score is lower shows hardly anything that is a cell, 0-1."""
    min_look_size: float
    """Cells that are smaller than this where an image is enlarged are noise, pixels."""
    max_look_growth: float
    """A way in which cells cover more than this many times the usual area shows something else."""
    pad_value: int
    """Grey level, 0-255, that fills a window up to a multiple of ``granularity``."""
    granularity: int
    """Sides of the detector's input are multiples of this."""
    seam_margin: float
    """A box this near to an inner window edge counts as cut by it, pixels at detection scale."""
    window_batch: int
    """Windows that go through the detector together on a GPU; on a CPU, which gains nothing by
    it, one does."""
    gpu_memory: int
    """Bytes that each of the two graphs may take of a GPU's memory."""
    score_threshold: float
    """Boxes at or below this score are dropped, 0-1."""
    nms_iou: float
    """A box that overlaps a better one by more than this is dropped, 0-1."""
    crop_size: int
    """Side of a segmenter crop, pixels."""
    crop_margin: float
    """A crop reaches this far out of its box on each side, as a share of the box's width or
    height: a box that lies a little off then cuts no cell."""
    crop_batch: int
    """Crops that go through the segmenter together."""
    mask_threshold: float
    """Pixels above this probability are the cell, 0-1."""
    least_area: int
    """Instances of fewer pixels are dropped."""
    least_visible: float
    """An instance is dropped where better ones cover all but less than this share of it, 0-1."""
    working_memory: int
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
class Settings(Method):
    """All that the predictor needs to know: the method's numbers and both models' graphs.

    A model has a graph for ``cpu``, which does for any machine, and may have others.
    """

    detector: Mapping[Machine, Graph]
    segmenter: Mapping[Machine, Graph]


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
    settings = build(Settings, values, path)
    if settings.stride % settings.granularity or not 0 < settings.stride < settings.window:
        raise SettingsError(
            f"{path}: 'stride' is {settings.stride}; a multiple of 'granularity', "
            f"{settings.granularity}, below 'window', {settings.window}, was wanted"
        )
    return settings


def graph_path(folder: Path, graphs: Mapping[Machine, Graph], machine: Machine) -> Path:
    """The graph of a model for a machine.

    Args:
        folder: of the settings.
        graphs: of the model, from the settings.
        machine: takes the graph for ``cpu`` where it has none of its own.

    Raises:
        SettingsError: the file is missing, or it is not the one that the settings name.
    """
    graph = graphs.get(machine, graphs["cpu"])
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
    types = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(values.keys() - types.keys()):
        raise SettingsError(f"{path}: unknown key {within + unknown[0]!r}; remove it")
    if missing := sorted(types.keys() - values.keys()):
        raise SettingsError(f"{path}: key {within + missing[0]!r} is missing; add it")
    for key, value in values.items():
        wanted = types[key]
        accepted = (int, float) if wanted is float else wanted
        if isinstance(accepted, type | tuple) and (
            not isinstance(value, accepted) or isinstance(value, bool)
        ):
            name = getattr(wanted, "__name__", wanted)
            raise SettingsError(f"{path}: {within + key!r} is {value!r}; {name} was wanted")
    return kind(**values)


def sha256(path: Path) -> str:
    """Hash of a file, lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _build_graphs(values: Any, path: Path, role: str) -> dict[Machine, Graph]:
    """The graphs of a model by the machine that each is for."""
    if not isinstance(values, Mapping):
        raise SettingsError(f"{path}: {role!r} is {values!r}; an object was wanted")
    machines = get_args(Machine)
    if unknown := sorted(values.keys() - set(machines)):
        wanted = ", ".join(machines)
        raise SettingsError(f"{path}: unknown key {f'{role}.{unknown[0]}'!r}; wanted {wanted}")
    if "cpu" not in values:
        raise SettingsError(f"{path}: key '{role}.cpu' is missing; add it")
    return {
        machine: build(Graph, graph, path, f"{role}.{machine}.")
        for machine, graph in values.items()
    }
