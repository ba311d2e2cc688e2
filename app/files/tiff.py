"""TIFF files, read in parts: only the tiles or strips that a window touches are decoded."""

import copy
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from .arrays import ImageError
from .axes import UNNAMED_CHANNELS
from .claims import check_missing, claims_too_much, doubts
from .colours import Colours
from .directories import MendedFile, follow
from .ome import read_ome
from .pixel_size import Size, tiff_pixel_size
from .planes import open_planes
from .stacks import ONE_PLANE, arrange, choose

_MAX_CHANNELS = 256
_FEW = 4  # images whose shapes are told
_UNNAMED = "QI"  # letters of axes that may be anything

logger = logging.getLogger(__name__)


class TiffImage:
    """One two-dimensional image of a TIFF file; ``app.files.open.open_image`` has the rules.

    Attributes:
        shape: (H, W, C).
        dtype: of what is read.
        channel_names: of each channel, a name it lacks is ""; none where the file has none.
        grid: of its planes, where each is wanted; else of a single one.
        decoded_bytes: what all planes that are read, and gaps between them, take when decoded.
        resident_bytes: memory that the image takes at most while it is open.

    Raises:
        ImageError: the file is broken, or does not hold one two-dimensional image.
    """

    def __init__(self, path: Path, stack: str) -> None:
        self.path = path
        with self._blamed():
            self._chain = follow(path)
            self._ome = read_ome(self._chain.description)
            self._source = MendedFile(path, self._chain) if self._chain.patches else None
        try:
            with self._blamed():
                self._file = self._open_file(**doubts(path, self._ome))
                self._open(stack)
        except ImageError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
        if self._source is not None:
            self._source.close()

    def __getitem__(self, window: tuple[slice, slice]) -> NDArray[Any]:
        sides = self._planes.shape[:2]
        rows, columns = (slice(*s.indices(n)[:2]) for s, n in zip(window, sides, strict=True))
        with self._blamed():
            return self._read(rows, columns)

    def planes(self) -> Iterator[Self]:
        """The planes of the grid, one after the other; each is open while it is the last one."""
        if not self.grid.axes:
            yield self
            return
        for numbers in self._all_numbers:
            plane = copy.copy(self)
            plane._numbers = numbers[None]
            yield plane
            self._planes.forget()

    @property
    def pixel_size(self) -> Size | None:
        """(y, x) micrometres."""
        return tiff_pixel_size(self._file, self._series, self._ome)

    def _open_file(self, **flags: bool) -> tifffile.TiffFile:
        if self.path.suffix.lower() == ".ndpi":  # of which tifffile looks at the name alone
            flags["is_ndpi"] = self._chain.is_ndpi
        arguments: dict[str, Any] = flags
        return tifffile.TiffFile(self._source or self.path, **arguments)

    def _open(self, stack: str) -> None:
        if min(self._file.pages.first.shaped) < 0:
            raise ValueError(f"a page of shape {self._file.pages.first.shape}")
        series = self._choose_series()
        if claims_too_much(self._file, series, self._chain):
            self._file.close()
            self._file = self._open_file(is_shaped=False, is_imagej=False)
            series = self._choose_series()
        if not series.size or series.dtype is None or series.dtype.kind not in "buif":
            raise ImageError(
                f"{self.path}: holds {series.dtype} values in shape {series.shape}; "
                "export it as 8-bit, 16-bit or float"
            )
        if len(self._file.series) > 1:
            shapes = ", ".join(
                " x ".join(map(str, each.shape)) for each in self._file.series[:_FEW]
            )
            what = "%d images in the file (%s); the one with the most pixels is used"
            logger.warning(what, len(self._file.series), shapes)
        axes = _name_axes(series.axes, series.shape)
        self._planes = open_planes(self.path, self._file, series, axes)
        check_missing(self.path, self._ome, series, self._chain, self._planes.missing)
        numbers, positions, kept = self._number_planes()
        self._all_numbers = numbers
        self._numbers = self._choose_planes(numbers, axes, series.shape, stack)
        letters = "".join(letter for letter in self._planes.leading if letter not in "CS")
        self.grid = arrange(self.path, letters, positions) if stack == "each" else ONE_PLANE
        self._colours = Colours(series.keyframe, self.path)
        height, width, samples = self._planes.shape
        plane_bytes = height * width * samples * series.dtype.itemsize
        self.decoded_bytes = plane_bytes * self._numbers.size * math.prod(self.grid.lengths)
        self.resident_bytes = self._planes.resident_bytes
        nothing = np.zeros((1, 1, samples * self._numbers.shape[1]), series.dtype)
        pixel = self._colours.finish(nothing)
        self.dtype, self.shape = pixel.dtype, (height, width, pixel.shape[2])
        names = self._channel_names(series)
        if len(names) == len(kept):
            names = [name for name, stays in zip(names, kept, strict=True) if stays]
        self._series = series
        self.channel_names = tuple(names) if len(names) == pixel.shape[2] and any(names) else ()

    def _choose_series(self) -> tifffile.TiffPageSeries:
        """The largest image that has a plane in this file and not only in others beside it."""

        def own() -> list[tifffile.TiffPageSeries]:
            return [
                series
                for series in self._file.series
                if series.keyframe.parent is self._file
                or any(page is not None and page.parent is self._file for page in series.pages)
            ]

        if not own():
            logger.warning("its description tells of other files alone and is left aside")
            self._file.close()
            self._file = self._open_file(is_ome=False)
        return max(own(), key=lambda series: series.size)

    def _number_planes(
        self,
    ) -> tuple[NDArray[np.int64], list[tuple[int, ...]], NDArray[np.bool_]]:
        """Numbers (S, C) of the planes along depth or time, and of channels; where S are; which C.

        What no plane of is there is left out.
        """
        letters, lengths = self._planes.leading, self._planes.lengths
        numbers = np.arange(math.prod(lengths)).reshape(lengths)
        channels = [k for k, letter in enumerate(letters) if letter in "CS"]
        numbers = np.moveaxis(numbers, channels, range(-len(channels), 0))
        places = np.ndindex(numbers.shape[: len(letters) - len(channels)])
        numbers = numbers.reshape(-1, math.prod(lengths[k] for k in channels))
        missing = np.isin(numbers, list(self._planes.missing))
        kept = np.asarray(~missing.all(axis=0))
        there = np.asarray(~missing.all(axis=1))
        positions = [place for place, stays in zip(places, there, strict=True) if stays]
        return numbers[there][:, kept], positions, kept

    def _choose_planes(
        self, numbers: NDArray[np.int64], axes: str, shape: tuple[int, ...], stack: str
    ) -> NDArray[np.int64]:
        """Numbers (S, C) of the planes: the maximum over S, side by side along C.

        Where each is wanted, this is the first one.
        """
        total = numbers.shape[1] * self._planes.shape[2]
        if total > _MAX_CHANNELS:
            raise ImageError(f"{self.path}: has {total} channels; export those that matter")
        what = f"{self.path}: holds axes {axes} of lengths {shape}"
        return numbers[choose(what, len(numbers), stack)]

    def _read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """(h, w, C): the plane, or the highest of several, NaN counting for nothing."""

        def plane(numbers: NDArray[np.int64]) -> NDArray[Any]:
            parts = [self._planes.read(int(number), rows, columns) for number in numbers]
            return self._colours.finish(parts[0] if len(parts) == 1 else np.concatenate(parts, 2))

        highest = plane(self._numbers[0])
        for numbers in self._numbers[1:]:
            highest = np.fmax(highest, plane(numbers))
        return highest

    def _channel_names(self, series: tifffile.TiffPageSeries) -> list[str]:
        """The names that OME-XML or ImageJ gives to the channels or planes of a series."""
        names: list[str] = []
        # Images without pixels in this file are no series, and then it is unknown which is which.
        if series.kind == "ome" and self._ome and len(self._ome.images) == len(self._file.series):
            pairs = zip(self._ome.images, self._file.series, strict=True)
            names = [*next(image.channels for image, other in pairs if other is series)]
        elif series.kind == "imagej":
            labels = (self._file.imagej_metadata or {}).get("Labels", [])
            # What follows in further lines is not the name.
            names = [str(label).strip().partition("\n")[0] for label in labels]
        return ["".join(filter(str.isprintable, name)).strip() for name in names]

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Name the file, whatever goes wrong in it."""
        try:
            yield
        except (ImageError, FileNotFoundError, PermissionError, MemoryError):
            raise
        # Broken files make tifffile and its codecs raise nearly any exception.
        except Exception as error:
            raise ImageError(
                f"{self.path}: not a complete TIFF file ({type(error).__name__}: {error}); "
                "copy or export it again"
            ) from error


def _name_axes(axes: str, shape: tuple[int, ...]) -> str:
    """Call an axis without a name C where it is channels by its length."""
    long = [k for k, n in enumerate(shape) if n > 1 or axes[k] in "YX"]
    letters = "".join(axes[k] for k in long)
    if len(long) not in (3, 4) or letters[-2:] != "YX" or not set("CS").isdisjoint(letters):
        return axes
    by_length = sorted(long, key=lambda k: shape[k])
    shortest, *_ = by_length
    if shape[shortest] >= min(UNNAMED_CHANNELS, shape[by_length[1]]):
        return axes
    named = list(axes)
    if axes[shortest] in _UNNAMED:
        named[shortest] = "C"
    elif shortest == long[-1] and axes[long[-3]] in _UNNAMED:
        for k, letter in zip(long[-3:], "YXC", strict=True):
            named[k] = letter
    else:
        return axes
    logger.warning("axes %s of lengths %s are not named; read as %s", axes, shape, "".join(named))
    return "".join(named)
