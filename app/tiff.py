"""TIFF files, read in parts: only the tiles or strips that a window touches are decoded."""

import logging
import math
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from app.pixels import FileArray, ImageError

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# Decoded tiles and strips that are kept for the next window.
_CACHE_BYTES = 2**28
# A first or last axis without a name is channels if it is shorter than this, and the shortest.
_UNNAMED_CHANNELS = 8
_MOST_CHANNELS = 256
_ALPHA = (1, 2)  # of the ExtraSamples tag: whether or not the colours were multiplied by it

logger = logging.getLogger(__name__)


class TiffImage:
    """One two-dimensional image of a TIFF file; ``app.read.open_image`` has the rules.

    Attributes:
        shape: (H, W, C).
        dtype: of what is read.
        decoded_bytes: what all planes that are read take when decoded.
        resident_bytes: memory that the image takes at most while it is open.

    Raises:
        ImageError: the file is broken, or does not hold one two-dimensional image.
    """

    def __init__(self, path: Path, stack: str) -> None:
        self.path = path
        with self._blamed():
            self._file = tifffile.TiffFile(path)
        try:
            with self._blamed():
                self._open(stack)
        except ImageError:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def __getitem__(self, window: tuple[slice, slice]) -> NDArray[Any]:
        sides = self._planes.shape[:2]
        rows, columns = (slice(*s.indices(n)[:2]) for s, n in zip(window, sides, strict=True))
        with self._blamed():
            return self._colours.finish(self._read(rows, columns))

    def _open(self, stack: str) -> None:
        series = max(self._file.series, key=lambda series: series.size)
        if not series.size or series.dtype is None or series.dtype.kind not in "buif":
            raise ImageError(
                f"{self.path}: holds {series.dtype} values in shape {series.shape}; "
                "export it as 8-bit, 16-bit or float"
            )
        if len(self._file.series) > 1:
            logger.warning("%d images in the file; the largest is used", len(self._file.series))
        axes = _name_axes(series.axes, series.shape)
        self._planes = _open_planes(self.path, self._file, series, axes)
        self._numbers = self._choose_planes(axes, series.shape, stack)
        self._colours = _Colours(series.keyframe, self.path)
        height, width, samples = self._planes.shape
        plane_bytes = height * width * samples * series.dtype.itemsize
        self.decoded_bytes = plane_bytes * self._numbers.size
        self.resident_bytes = self._planes.resident_bytes
        first = self[0:1, 0:1]
        self.dtype, self.shape = first.dtype, (height, width, first.shape[2])

    def _choose_planes(self, axes: str, shape: tuple[int, ...], stack: str) -> NDArray[np.int64]:
        """Numbers (S, C) of the planes: the maximum over S, side by side along C."""
        letters = self._planes.leading
        lengths = [shape[axes.index(letter)] for letter in letters]
        numbers = np.arange(math.prod(lengths)).reshape(lengths)
        channels = [k for k, letter in enumerate(letters) if letter in "CS"]
        numbers = np.moveaxis(numbers, channels, range(-len(channels), 0))
        numbers = numbers.reshape(-1, math.prod(lengths[k] for k in channels))
        total = numbers.shape[1] * self._planes.shape[2]
        if total > _MOST_CHANNELS:
            raise ImageError(f"{self.path}: has {total} channels; export those that matter")
        if len(numbers) == 1 or stack == "max":
            return numbers
        what = f"{self.path}: holds axes {axes} of lengths {shape}"
        if stack == "refuse":
            raise ImageError(
                f"{what}, but one two-dimensional image was wanted; export one plane or a "
                "projection of the stack, or choose with --stack max or --stack NUMBER"
            )
        if int(stack) >= len(numbers):
            raise ImageError(f"{what}; --stack {stack} was wanted, 0 to {len(numbers) - 1} are")
        return numbers[int(stack) : int(stack) + 1]

    def _read(self, rows: slice, columns: slice) -> NDArray[Any]:
        def plane(numbers: NDArray[np.int64]) -> NDArray[Any]:
            parts = [self._planes.read(int(number), rows, columns) for number in numbers]
            return parts[0] if len(parts) == 1 else np.concatenate(parts, 2)

        highest = plane(self._numbers[0])
        for numbers in self._numbers[1:]:
            highest = np.maximum(highest, plane(numbers))
        return highest

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Name the file, whatever goes wrong in it."""
        try:
            yield
        except (ImageError, FileNotFoundError, PermissionError):
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
    if len(long) != 3 or "".join(axes[k] for k in long)[1:] != "YX" or axes[long[0]] not in "QI":
        return axes
    a, b, c = (shape[k] for k in long)
    named = list(axes)
    if c < min(_UNNAMED_CHANNELS, a, b):
        for k, letter in zip(long, "YXC", strict=True):
            named[k] = letter
    elif a < min(_UNNAMED_CHANNELS, b, c):
        named[long[0]] = "C"
    else:
        return axes
    logger.warning("axes %s of lengths %s are not named; read as %s", axes, shape, "".join(named))
    return "".join(named)


class _Planes(Protocol):
    """The planes of an image, numbered in the order of all axes but height, width and samples."""

    leading: str
    """Letters of the axes that number the planes."""
    shape: tuple[int, int, int]
    """(H, W, S) of a plane."""
    resident_bytes: int

    def read(self, number: int, rows: slice, columns: slice) -> NDArray[Any]:
        """(h, w, S) pixels of a plane."""


def _open_planes(
    path: Path, file: tifffile.TiffFile, series: tifffile.TiffPageSeries, axes: str
) -> _Planes:
    if series.dataoffset is not None:
        dtype = series.dtype.newbyteorder(file.byteorder)
        end = series.dataoffset + series.nbytes
        _check_end(end, file)
        return _ArrayPlanes(FileArray(path, dtype, series.shape, series.dataoffset), axes, 0)
    pages = [page for page in series.pages if page is not None]
    _check_end(max(_ends(pages)), file)
    page_axes = series.keyframe.axes
    if axes.endswith(page_axes) and "Y" in page_axes:
        return _DecodedPlanes(file, series, axes[: len(axes) - len(page_axes)])
    return _ArrayPlanes(series.asarray(), axes, series.nbytes)


def _ends(pages: list[Any]) -> Iterator[int]:
    """Where the last byte of each page is."""
    for page in pages:
        segments = zip(page.dataoffsets, page.databytecounts, strict=True)
        yield max((start + size for start, size in segments), default=0)


def _check_end(end: int, file: tifffile.TiffFile) -> None:
    # JPEG's decoder makes up what is missing, so it must not come to that.
    if end > file.filehandle.size:
        raise ValueError(f"{end} bytes were wanted, {file.filehandle.size} are there")


class _ArrayPlanes:
    """Planes of a whole array, in the file or in memory."""

    def __init__(self, array: FileArray | NDArray[Any], axes: str, resident_bytes: int) -> None:
        self.array, self.axes, self.resident_bytes = array, axes, resident_bytes
        y, x = axes.index("Y"), axes.index("X")
        self.sample_axis = x + 1 if len(axes) > x + 1 and axes[x + 1] in "CS" else None
        inside = {y, x, self.sample_axis}
        self.leading_axes = [k for k in range(len(axes)) if k not in inside]
        self.leading = "".join(axes[k] for k in self.leading_axes)
        samples = 1 if self.sample_axis is None else array.shape[self.sample_axis]
        self.shape = (array.shape[y], array.shape[x], samples)

    def read(self, number: int, rows: slice, columns: slice) -> NDArray[Any]:
        key: list[slice | int] = [slice(None)] * len(self.axes)
        key[self.axes.index("Y")], key[self.axes.index("X")] = rows, columns
        lengths = tuple(self.array.shape[k] for k in self.leading_axes)
        for axis, index in zip(self.leading_axes, np.unravel_index(number, lengths), strict=True):
            key[axis] = int(index)
        part = self.array[tuple(key)]
        return part[:, :, None] if part.ndim == 2 else part


class _DecodedPlanes:
    """Planes of a page each, in tiles or strips that are decoded as they are needed."""

    def __init__(
        self, file: tifffile.TiffFile, series: tifffile.TiffPageSeries, leading: str
    ) -> None:
        self.file, self.pages, self.leading = file.filehandle, series.pages, leading
        self.page = series.keyframe
        self.dtype = np.dtype(self.page.dtype)
        separate, depth, height, width, contiguous = self.page.shaped
        self.rows, self.columns = self.page.tilelength, self.page.tilewidth
        if not self.page.is_tiled:
            self.rows, self.columns = min(self.page.rowsperstrip, height), width
        if depth != 1:
            raise ValueError(f"a page of depth {depth}")
        self.shape = (height, width, separate * contiguous)
        segment = self.rows * self.columns * contiguous * self.dtype.itemsize
        total = height * width * separate * contiguous * self.dtype.itemsize
        self.resident_bytes = min(total * len(series.pages), _CACHE_BYTES) + segment
        self.cache: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()
        self.cached_bytes = 0

    def read(self, number: int, rows: slice, columns: slice) -> NDArray[Any]:
        separate, contiguous = self.page.shaped[0], self.page.shaped[4]
        high, wide = rows.stop - rows.start, columns.stop - columns.start
        out = np.zeros((high, wide, separate, contiguous), self.dtype)
        across = math.ceil(self.shape[1] / self.columns)
        down = math.ceil(self.shape[0] / self.rows)
        for row in range(rows.start // self.rows, math.ceil(rows.stop / self.rows)):
            for column in range(
                columns.start // self.columns, math.ceil(columns.stop / self.columns)
            ):
                y, x = row * self.rows - rows.start, column * self.columns - columns.start
                for sample in range(separate):
                    index = (sample * down + row) * across + column
                    segment = self._segment(number, index)[max(-y, 0) :, max(-x, 0) :]
                    place = out[max(y, 0) :, max(x, 0) :, sample]
                    h, w = (min(a, b) for a, b in zip(segment.shape, place.shape[:2], strict=False))
                    place[:h, :w] = segment[:h, :w]
        return out.reshape(high, wide, separate * contiguous)

    def _segment(self, number: int, index: int) -> NDArray[Any]:
        """A decoded tile or strip (h, w, S), from the cache if it is there."""
        key = (number, index)
        if key in self.cache:
            self.cache.move_to_end(key)
            return self.cache[key]
        segment = self._decode(number, index)
        self.cache[key] = segment
        self.cached_bytes += segment.nbytes
        while self.cached_bytes > _CACHE_BYTES and len(self.cache) > 1:
            self.cached_bytes -= self.cache.popitem(last=False)[1].nbytes
        return segment

    def _decode(self, number: int, index: int) -> NDArray[Any]:
        page = self.pages[number]
        data = None
        if page is not None and page.databytecounts[index]:
            self.file.seek(page.dataoffsets[index])
            data = self.file.read(page.databytecounts[index])
        tables: dict[str, Any] = {}
        if page is not None and page.jpegtables is not None:
            tables = {"jpegtables": page.jpegtables, "jpegheader": self.page.jpegheader}
        segment, _, shape = self.page.decode(data, index, **tables)
        if segment is None:
            return np.full(shape[1:], self.page.nodata, self.dtype)
        return np.asarray(segment[0])


class _Colours:
    """From the samples of a page to channels: palette, inverted levels, alpha."""

    def __init__(self, page: Any, path: Path) -> None:
        photometric = tifffile.PHOTOMETRIC(page.photometric)
        if photometric is tifffile.PHOTOMETRIC.SEPARATED:
            raise ImageError(f"{path}: its colours are inks, for print (CMYK); export it as RGB")
        self.highest: int | None = None
        if photometric is tifffile.PHOTOMETRIC.MINISWHITE:
            self.highest = 2**page.bitspersample - 1
        self.palette: NDArray[np.uint8] | None = None
        if photometric is tifffile.PHOTOMETRIC.PALETTE:
            colours = np.asarray(page.colormap).T  # of 16 bits, but some write only 8
            self.palette = (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)
        extra = page.extrasamples or ()
        first = page.samplesperpixel - len(extra)
        self.samples = page.samplesperpixel
        self.alpha = [first + k for k, kind in enumerate(extra) if kind in _ALPHA]

    def finish(self, block: NDArray[Any]) -> NDArray[Any]:
        if block.dtype == np.bool_:
            block = block.astype(np.uint8)
        if self.palette is not None:
            return np.asarray(self.palette[block[:, :, 0]])
        if self.highest is not None and block.dtype.kind == "u":
            block = self.highest - block
        if self.alpha and block.shape[2] % self.samples == 0:
            stays = [k for k in range(block.shape[2]) if k % self.samples not in self.alpha]
            block = block[:, :, stays]
        return block
