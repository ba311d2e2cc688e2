"""Which of the cells that were found are kept, by what the user asks for."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .area import Area
from .files.arrays import ImageError
from .files.labels import Canvas
from .files.pixel_size import Size


@dataclass(frozen=True)
class Filters:
    """What a cell has to be; what isn't given leaves none out."""

    exclude_edges: bool = False
    """Cells that touch the border of the image are left out."""
    min_area: Area | None = None
    max_area: Area | None = None
    min_score: float | None = None

    def check(self, path: Path, pixel_size: Size | None) -> None:
        """See that an image can be filtered.

        Raises:
            ImageError: a size in micrometres is asked for and that of its pixels is unknown.
        """
        for name, area in (("--min-area", self.min_area), ("--max-area", self.max_area)):
            if area is not None and area.in_micrometres and pixel_size is None:
                raise ImageError(
                    f"{path}: how large its pixels are isn't known, so {name} {area} can't be "
                    "told; give --pixel-size, or the area in pixels"
                )

    def kept(
        self,
        areas: NDArray[np.int64],
        scores: NDArray[np.float32],
        canvas: Canvas,
        pixel_size: Size | None,
    ) -> NDArray[np.bool_]:
        """Which cells stay.

        Args:
            areas: (N + 1,) pixels of each id, the background's first.
            scores: (N,) of ids 1 to N.
            canvas: (H, W) of the ids.
            pixel_size: (y, x) micrometres.

        Returns:
            (N + 1,) bool by id.
        """
        stays = np.ones(len(areas), bool)
        if self.min_area is not None:
            stays &= areas >= self.min_area.pixels(pixel_size)
        if self.max_area is not None:
            stays &= areas <= self.max_area.pixels(pixel_size)
        if self.min_score is not None:
            stays[1:] &= ~(scores < self.min_score)  # of given boxes none is known
        if self.exclude_edges:
            height, width = canvas.shape
            rows, columns = slice(0, height), slice(0, width)
            for y, x in (
                (slice(0, 1), columns),
                (slice(height - 1, height), columns),
                (rows, slice(0, 1)),
                (rows, slice(width - 1, width)),
            ):
                stays[canvas[y, x].ravel()] = False
        return stays
