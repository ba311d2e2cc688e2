"""An animation in a PNG file as a stack: its planes one after the other."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .png import Frame, compose
from .stacks import Grid


class Animation:
    """What an animation shows after each of its frames; as an image, after the first.

    Attributes:
        shape: (H, W, C).
        dtype: of the pixels.
        grid: of the planes; their axis is time.

    Args:
        frames: as for ``compose``, as are the others.
    """

    def __init__(
        self,
        frames: list[Frame],
        shape: tuple[int, int],
        decode: Callable[[bytes], NDArray[Any]],
    ) -> None:
        self._how = frames, shape, decode
        self._first = next(self.planes())
        self.shape, self.dtype = self._first.shape, self._first.dtype
        numbers = tuple((number,) for number in range(len(frames)))
        self.grid = Grid("T", (len(frames),), numbers)
        # Beside a plane there are the first one and what a frame has covered.
        self.resident_bytes = 3 * self._first.nbytes

    def __getitem__(self, window: tuple[slice, slice]) -> NDArray[Any]:
        return np.asarray(self._first[window])

    def planes(self) -> Iterator[NDArray[Any]]:
        """(H, W, C) each; the same array, changed."""
        return compose(*self._how)
