"""CZI files, of Zeiss's ZEN, read in parts: only the tiles that a window touches are decoded."""

import copy
import logging
import math
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from .arrays import ImageError, NotCompleteError, NotSupportedError
from .pixel_size import Size
from .stacks import Grid, arrange, choose
from .subblocks import Subblock, decode, read_contents

_STACK = "VHIRBTZ"  # view, phase, illumination, rotation, block, time, depth: the slowest first
_MAX_CHANNELS = 256
_CACHE_BYTES = 2**28  # decoded tiles that are kept for the next window
_METRES = 1e6  # micrometres

Plane = dict[int, list[Subblock]]  # the tiles of each channel, by its number

logger = logging.getLogger(__name__)


class CziImage:
    """One two-dimensional image of a CZI file, put together from its tiles.

    Where tiles overlap, the one that ZEN shows on top counts; where there is none, pixels are 0.
    Lower resolutions of the same are left aside.

    Attributes:
        shape: (H, W, C).
        dtype: of what is read.
        channel_names: of each channel, a name it lacks is ""; none where the file has none.
        grid: of its planes, where each is wanted; else of a single one.
        decoded_bytes: what all planes that are read, and gaps between them, take when decoded.
        resident_bytes: memory that the image takes at most while it is open.
        pixel_size: (y, x) micrometres; None where the file doesn't tell.

    Args:
        path: of the file.
        stack: as ``app.files.open.open_image`` has it.

    Raises:
        ImageError: the file is broken, or does not hold one two-dimensional image.
        OSError: it can't be read.
    """

    def __init__(self, path: Path, stack: str) -> None:
        self.path = path
        self._tiles: OrderedDict[int, NDArray[Any]] = OrderedDict()
        with self._blamed():
            contents = read_contents(path)
            subblocks = _full_resolution(contents.subblocks)
            names, self.pixel_size = _read_metadata(contents.metadata)
        if contents.is_open:
            logger.warning("the program that wrote it did not close it; planes may be missing")
        first = subblocks[0]
        self._top = min(block.top for block in subblocks)
        self._left = min(block.left for block in subblocks)
        height = max(block.top + block.height for block in subblocks) - self._top
        width = max(block.left + block.width for block in subblocks) - self._left
        self._samples = min(first.samples, 3)  # without alpha
        numbers, axes = _find_planes(subblocks)
        planes = list(numbers.values())
        self._channels = sorted({number for plane in planes for number in plane})
        gaps = sum(len(plane) < len(self._channels) for plane in planes)
        if gaps:
            what = "one plane" if gaps == 1 else f"{gaps} planes"
            logger.warning("of %s some channels are not in the file; they are 0", what)
        self._planes = self._choose_planes(planes, axes, stack)
        self.grid = arrange(path, axes, list(numbers)) if stack == "each" else Grid()
        self._each = planes if self.grid.axes else self._planes
        self.shape = (height, width, len(self._channels) * self._samples)
        if self.shape[2] > _MAX_CHANNELS:
            raise ImageError(f"{path}: has {self.shape[2]} channels; export those that matter")
        self.dtype = first.dtype.newbyteorder("=")
        read = [block.nbytes for plane in self._each for tiles in plane.values() for block in tiles]
        count = math.prod(self.grid.lengths) if self.grid.axes else len(self._planes)
        claimed = math.prod(self.shape) * self.dtype.itemsize * count
        self.decoded_bytes = max(sum(read), claimed)
        self.resident_bytes = min(sum(read), _CACHE_BYTES) + max(read)
        found = [names[k] if 0 <= k < len(names) else "" for k in self._channels]
        self.channel_names = tuple(found) if self._samples == 1 and any(found) else ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the tiles; the file is open only while one is read."""
        self._tiles.clear()

    def __getitem__(self, window: tuple[slice, slice]) -> NDArray[Any]:
        rows, columns = (slice(*s.indices(n)[:2]) for s, n in zip(window, self.shape, strict=False))
        with self._blamed():
            highest = self._read(self._planes[0], rows, columns)
            for plane in self._planes[1:]:
                highest = np.fmax(highest, self._read(plane, rows, columns))
        return highest

    def planes(self) -> Iterator[Self]:
        """The planes of the grid, one after the other; each is open while it is the last one."""
        for number in range(len(self.grid.positions)):
            plane = copy.copy(self)
            plane._planes = self._each[number : number + 1] if self.grid.axes else self._planes
            yield plane
            self.close()

    def _choose_planes(self, planes: list[Plane], axes: str, stack: str) -> list[Plane]:
        """The planes of which the maximum is wanted; where each is, the first one."""
        what = f"{self.path}: holds {len(planes)} planes along the axes {axes}"
        return planes[choose(what, len(planes), stack)]

    def _read(self, plane: Plane, rows: slice, columns: slice) -> NDArray[Any]:
        """(h, w, C) of one plane."""
        sides = (rows.stop - rows.start, columns.stop - columns.start)
        out = np.zeros((*sides, len(self._channels), self._samples), self.dtype)
        for channel, number in enumerate(self._channels):
            for block in plane.get(number, []):
                # Of the tile's corner in the window.
                y = block.top - self._top - rows.start
                x = block.left - self._left - columns.start
                place = out[
                    max(y, 0) : max(y + block.height, 0),
                    max(x, 0) : max(x + block.width, 0),
                    channel,
                ]
                if place.size:
                    part = self._tile(block)[max(-y, 0) :, max(-x, 0) :, : self._samples]
                    place[:] = part[: place.shape[0], : place.shape[1]]
        return out.reshape(*sides, -1)

    def _tile(self, block: Subblock) -> NDArray[Any]:
        """A decoded tile, kept for the next window."""
        if block.position in self._tiles:
            self._tiles.move_to_end(block.position)
            return self._tiles[block.position]
        tile = decode(self.path, block)
        self._tiles[block.position] = tile
        while len(self._tiles) > 1 and sum(t.nbytes for t in self._tiles.values()) > _CACHE_BYTES:
            self._tiles.popitem(last=False)
        return tile

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Name the file, whatever goes wrong in it."""
        try:
            yield
        except ImageError:
            raise
        except NotSupportedError as error:
            raise ImageError(
                f"{self.path}: {error} is not supported; export each image of it as TIFF in ZEN or "
                "Fiji, or convert each to OME-TIFF with bfconvert -series NUMBER (Bio-Formats)"
            ) from error
        # What the codecs raise of broken data.
        except (RuntimeError, TypeError, ValueError) as error:
            raise ImageError(
                f"{self.path}: not a complete CZI file, whatever its name says ({error}); copy or "
                "export it again"
            ) from error


def _full_resolution(subblocks: list[Subblock]) -> list[Subblock]:
    """Those of one scene that no others repeat.

    Raises:
        NotCompleteError: there are none.
        NotSupportedError: they can't be read as one image.
    """
    full = [block for block in subblocks if not block.is_reduced]
    for block in full:
        block.check()
    if {_number(block) for block in subblocks} > {_number(block) for block in full}:
        raise NotSupportedError("CZI of which a part has a lower resolution alone")
    if not full:
        raise NotCompleteError("there is no image in it")
    scenes = {block.plane.get("S", 0) for block in full}
    if len(scenes) > 1:
        raise NotSupportedError(f"CZI of {len(scenes)} scenes")
    unknown = {letter for block in full for letter in block.plane} - {"C", "S", *_STACK}
    if unknown:
        raise NotSupportedError(f"CZI with an axis {', '.join(sorted(unknown))}")
    if len({block.pixel_type for block in full}) > 1:
        raise NotSupportedError("CZI with pixels of several types")
    return full


def _find_planes(subblocks: list[Subblock]) -> tuple[dict[tuple[int, ...], Plane], str]:
    """Planes by their places along the axes of a stack, in their order; and these axes."""
    first = {letter: min(block.plane.get(letter, 0) for block in subblocks) for letter in _STACK}
    last = {letter: max(block.plane.get(letter, 0) for block in subblocks) for letter in _STACK}
    axes = [letter for letter in _STACK if last[letter] > first[letter]]
    planes: dict[tuple[int, ...], Plane] = {}
    # What is drawn later lies on top.
    for block in sorted(subblocks, key=lambda block: block.order):
        place = tuple(block.plane.get(letter, 0) - first[letter] for letter in axes)
        plane = planes.setdefault(place, {})
        plane.setdefault(block.plane.get("C", 0), []).append(block)
    return dict(sorted(planes.items())), "".join(axes)


def _number(block: Subblock) -> tuple[int, ...]:
    """Of its plane, along all axes; lower resolutions may lack those of length 1."""
    return tuple(block.plane.get(letter, 0) for letter in ("C", *_STACK))


def _read_metadata(xml: bytes) -> tuple[list[str], Size | None]:
    """Names of the channels and (y, x) micrometres of a pixel, as far as they are told."""
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError, LookupError):
        return [], None
    channels = root.iterfind(".//Information/Image/Dimensions/Channels/Channel")
    names = ["".join(filter(str.isprintable, c.get("Name", ""))).strip() for c in channels]
    sizes = {}
    for distance in root.iterfind(".//Scaling/Items/Distance"):
        try:
            sizes[distance.get("Id")] = float(distance.findtext("Value", "nan")) * _METRES
        except ValueError:
            continue
    y, x = sizes.get("Y", math.nan), sizes.get("X", math.nan)
    return names, (y, x) if all(math.isfinite(n) and n > 0 for n in (y, x)) else None
