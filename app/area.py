"""An area of cells, as the user gives it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Area:
    """Of a cell: pixels, or square micrometres."""

    value: float
    in_micrometres: bool

    def pixels(self, pixel_size: tuple[float, float] | None) -> float:
        """The same in pixels of some (y, x) micrometres."""
        if not self.in_micrometres or pixel_size is None:
            return self.value
        return self.value / (pixel_size[0] * pixel_size[1])

    def __str__(self) -> str:
        return f"{self.value:g}{'um2' if self.in_micrometres else ''}"
