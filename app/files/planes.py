"""The planes of a TIFF image, of which only the tiles or strips that are wanted are decoded."""

import math
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tifffile
from numpy.typing import NDArray

from .arrays import FileArray
from .header import encoded_size

# Decoded tiles and strips that are kept for the next window.
_CACHE_BYTES = 2**28
_JPEG_SLACK = 4  # by this much a JPEG may be larger than its tile, for what writers round up


class Planes(Protocol):
    """The planes of an image, numbered in the order of all axes but height, width and samples."""

    leading: str
    """Letters of the axes that number the planes."""
    shape: tuple[int, int, int]
    """(H, W, S) of a plane."""
    resident_bytes: int

    def read(self, number: int, rows: slice, columns: slice) -> NDArray[Any]:
        """(h, w, S) pixels of a plane."""


def open_planes(
    path: Path, file: tifffile.TiffFile, series: tifffile.TiffPageSeries, axes: str
) -> Planes:
    """The planes of a series, in the cheapest way that its layout allows.

    Args:
        path: of the file.
        file: open.
        series: of which the planes are.
        axes: a letter for each axis of the series; may say more than tifffile's own.

    Raises:
        ValueError: the file ends before its data.
    """
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
    return _ArrayPlanes(_LoadedSeries(series), axes, series.nbytes)


class _LoadedSeries:
    """A whole array, decoded when it is first read."""

    def __init__(self, series: tifffile.TiffPageSeries) -> None:
        self.series, self.shape = series, series.shape

    @cached_property
    def array(self) -> NDArray[Any]:
        array = np.asarray(self.series.asarray())
        if array.shape != self.shape:
            raise ValueError(f"decodes to shape {array.shape}, but claims {self.shape}")
        return array

    def __getitem__(self, key: tuple[slice | int, ...]) -> NDArray[Any]:
        return self.array[key]


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

    def __init__(self, array: FileArray | _LoadedSeries, axes: str, resident_bytes: int) -> None:
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
        # Several values where one was due arrive as a tuple, whose products are longer tuples.
        self.rows, self.columns = int(self.page.tilelength), int(self.page.tilewidth)
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
            self._check_jpeg(data)
        tables: dict[str, Any] = {}
        if page is not None and page.jpegtables is not None:
            tables = {"jpegtables": page.jpegtables, "jpegheader": self.page.jpegheader}
        segment, _, shape = self.page.decode(data, index, **tables)
        if segment is None:
            return np.full(shape[1:], self.page.nodata, self.dtype)
        return np.asarray(segment[0])

    def _check_jpeg(self, data: bytes) -> None:
        """Refuse a JPEG image that is larger than its tile or strip, before it is decoded."""
        size = encoded_size(data)
        if size is not None and size.height * size.width > _JPEG_SLACK * self.rows * self.columns:
            raise ValueError(f"a JPEG of {size.width} x {size.height} pixels in a smaller tile")
