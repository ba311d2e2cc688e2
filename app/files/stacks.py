"""Where the planes of a stack lie along depth, time and what else numbers them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from .arrays import ImageError, Pixels

# Letters that OME-TIFF knows beside height, width and channels: depth, time, angle, phase, tile,
# lifetime and wavelength; of the last five it can hold three.
_PLACES, _OTHERS, _MOST_OTHERS = "ZT", "APRHE", 3


@dataclass(frozen=True)
class Grid:
    """The places of planes.

    Attributes:
        axes: a letter for each axis along which there are several planes, in the file's order;
            none where there is one plane.
        lengths: of the axes.
        positions: of each plane that is there, along the axes from 0, in the file's order.
    """

    axes: str = ""
    lengths: tuple[int, ...] = ()
    positions: tuple[tuple[int, ...], ...] = ((),)

    def place(self, number: int) -> str:
        """A plane for people: its number from 0, and where that is."""
        pairs = zip(self.axes, self.positions[number], strict=True)
        where = ", ".join(f"{axis} {index}" for axis, index in pairs)
        return f"{number} ({where})" if len(self.axes) > 1 else f"{number}"


ONE_PLANE = Grid()


@runtime_checkable
class Stack(Protocol):
    """An image whose planes can be had one by one; as an image it is the first of them."""

    grid: Grid

    def planes(self) -> Iterator[Pixels]:
        """In the order of the grid's positions; each can be read until the next one is taken."""


def planes_of(image: Pixels) -> tuple[Grid, Iterator[Pixels]]:
    """The planes of an image that was opened with ``each``, and where they are.

    An image of one plane, or one that was opened in another way, is its own only plane.
    """
    if isinstance(image, Stack):
        return image.grid, image.planes()
    return ONE_PLANE, iter([image])


def choose(what: str, count: int, stack: str) -> slice:
    """Which planes of a file are read, as ``open_image`` has it; where each is, the first one.

    Args:
        what: names the file and what it holds, for messages.
        count: of its planes.
        stack: what is wanted of them.

    Raises:
        ImageError: one was wanted, or one that isn't there.
    """
    if count == 1 or stack == "max":
        return slice(None)
    if stack == "each":
        return slice(1)
    if stack == "refuse":
        raise ImageError(
            f"{what}, but one two-dimensional image was wanted; export one plane or a projection "
            "of the stack, or choose with --stack each, max or NUMBER"
        )
    if int(stack) >= count:
        raise ImageError(f"{what}; --stack {stack} was wanted, 0 to {count - 1} are")
    return slice(int(stack), int(stack) + 1)


def arrange(path: Path, axes: str, positions: Sequence[tuple[int, ...]]) -> Grid:
    """The grid of some planes: each axis is as long as there are planes along it.

    Args:
        path: of the image, for messages.
        axes: their letters in the image.
        positions: along them, of each plane that is there.

    Raises:
        ImageError: the axes have no names, and are too many to be told apart.
    """
    lengths = [max(along) + 1 for along in zip(*positions, strict=True)]
    long = [k for k, length in enumerate(lengths) if length > 1]
    if len(positions) == 1 or not long:
        return ONE_PLANE
    return Grid(
        _name(path, "".join(axes[k] for k in long)),
        tuple(lengths[k] for k in long),
        tuple(tuple(position[k] for k in long) for position in positions),
    )


def _name(path: Path, axes: str) -> str:
    """Call axes that have no name in OME depth, and then time, from the innermost one on."""
    free = [letter for letter in _PLACES if letter not in axes]
    named = list(axes)
    for k in reversed(range(len(axes))):
        if axes[k] not in _PLACES + _OTHERS and free:
            named[k] = free.pop(0)
    found = "".join(named)
    known = set(found) <= set(_PLACES + _OTHERS)
    if not known or sum(letter in _OTHERS for letter in found) > _MOST_OTHERS:
        raise ImageError(
            f"{path}: its planes lie along the axes {axes}, of which too many are neither depth "
            "nor time; export it with the axes T and Z, or choose with --stack max or NUMBER"
        )
    return found
