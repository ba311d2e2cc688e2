"""What comes of an image: its cells, and what is worth knowing of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .files.labels import Labels
from .files.pixel_size import Size
from .files.stacks import ONE_PLANE, Grid
from .trial import Choice


@dataclass(frozen=True)
class Outlined:
    """The cells in some boxes."""

    labels: Labels
    confidences: NDArray[np.float32]
    """(N,) of each box's mask, as ``confidence`` has it."""


@dataclass(frozen=True)
class Prediction:
    """The cells of an image, and how it was shown to find them."""

    labels: Labels
    """0 is background, 1 to N are the cells, the most certain first."""
    boxes: NDArray[np.float32]
    """(N, 4) xyxy of each cell, pixels of the image, as the detector has found it."""
    scores: NDArray[np.float32]
    """(N,) how sure it is of each, 0-1."""
    confidences: NDArray[np.float32]
    """(N,) how sure the segmenter is of the mask of each, 0-1."""
    choice: Choice


@dataclass(frozen=True)
class Plane:
    """What is worth knowing of one plane of a file, once its label image is written."""

    instances: int
    choice: Choice
    """How it was shown to the networks."""
    warnings: tuple[str, ...]
    """What the stages had to say of it."""


@dataclass(frozen=True)
class Outcome:
    """The same of the file."""

    height: int
    width: int
    channels: int
    dtype: str
    pixel_size: Size | None
    """(y, x) micrometres, where it is known."""
    instances: int
    """Of all planes together."""
    channel_names: tuple[str, ...]
    """Of all its channels; none where the file has none."""
    choice: Choice
    """How it was shown to the networks; of a stack, its first plane."""
    seconds: dict[str, float]
    """By stage."""
    grid: Grid = ONE_PLANE
    """Where the planes of a stack are."""
    planes: tuple[Plane, ...] = ()
    """Of a stack, in the order of the grid's positions; else none."""
