"""What is wanted of a file, beside its cells."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .files.arrays import Pixels
from .files.pixel_size import Size
from .files.stacks import Grid
from .filters import Filters
from .outcome import Prediction


class PlaneTaker(Protocol):
    """What writes more than the label image."""

    def add(self, image: Pixels, found: Prediction) -> None:
        """Take the cells of the next plane."""


# Makes one for a file with some names of channels, (y, x) micrometres of a pixel, and planes.
Also = Callable[[tuple[str, ...], Size | None, Grid], AbstractContextManager[PlaneTaker | None]]


@dataclass(frozen=True)
class Request:
    """How a file is read, and which of its cells are kept."""

    stack: str = "refuse"
    """See ``open_image``."""
    filters: Filters = field(default_factory=Filters)
    pixel_size: Size | None = None
    """(y, x) micrometres, where the file is not to be asked."""
    boxes: NDArray[np.float32] | None = None
    """(N, 4) xyxy, pixels of the image: the cells in these instead of those that are detected."""
