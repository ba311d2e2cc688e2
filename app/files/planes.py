"""The planes of a TIFF image, of which only the tiles or strips that are wanted are decoded."""

import math
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
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
    """Letters of the axes that number the planes; those without a name may be alike."""
    lengths: tuple[int, ...]
    """Of these axes."""
    shape: tuple[int, int, int]
    """(H, W, S) of a plane."""
    resident_bytes: int
    missing: frozenset[int]
    """Numbers of planes that are described but not there; they are read as zeros."""

    def read(self, number: int, rows: slice, columns: slice) -> NDArray[Any]:
        """(h, w, S) pixels of a plane."""

    def forget(self) -> None:
        """Free what is kept of the planes that were read."""


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
        ValueError: the file ends before its data, or its planes are of several kinds.
    """
    if series.dataoffset is not None and not series.is_multifile:
        dtype = series.dtype.newbyteorder(file.byteorder)
        _check_end(series.dataoffset + series.nbytes, file.filehandle)
        return _ArrayPlanes(FileArray(path, dtype, series.shape, series.dataoffset), axes, 0)
    for page in series.pages:
        if page is not None:
            segments = zip(page.dataoffsets, page.databytecounts, strict=True)
            end = max((start + size for start, size in segments), default=0)
            _check_end(end, page.parent.filehandle)
    page_axes = series.keyframe.axes
    if axes.endswith(page_axes) and "Y" in page_axes:
        return _DecodedPlanes(series, axes[: len(axes) - len(page_axes)])
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


def _check_end(end: int, handle: tifffile.FileHandle) -> None:
    # JPEG's decoder makes up what is missing, so it must not come to that.
    if end > handle.size:
        raise ValueError(f"{end} bytes of {handle.name} were wanted, {handle.size} are there")


class _ArrayPlanes:
    """Planes of a whole array, in the file or in memory."""

    def __init__(self, array: FileArray | _LoadedSeries, axes: str, resident_bytes: int) -> None:
        self.array, self.axes, self.resident_bytes = array, axes, resident_bytes
        self.missing: frozenset[int] = frozenset()
        y, x = axes.index("Y"), axes.index("X")
        self.sample_axis = x + 1 if len(axes) > x + 1 and axes[x + 1] in "CS" else None
        inside = {y, x, self.sample_axis}
        self.leading_axes = [k for k in range(len(axes)) if k not in inside]
        self.leading = "".join(axes[k] for k in self.leading_axes)
        self.lengths = tuple(array.shape[k] for k in self.leading_axes)
        samples = 1 if self.sample_axis is None else array.shape[self.sample_axis]
        self.shape = (array.shape[y], array.shape[x], samples)

    def read(self, number: int, rows: slice, columns: slice) -> NDArray[Any]:
        key: list[slice | int] = [slice(None)] * len(self.axes)
        key[self.axes.index("Y")], key[self.axes.index("X")] = rows, columns
        place = np.unravel_index(number, self.lengths)
        for axis, index in zip(self.leading_axes, place, strict=True):
            key[axis] = int(index)
        part = self.array[tuple(key)]
        return part[:, :, None] if part.ndim == 2 else part

    def forget(self) -> None:
        """Nothing: an array in the file keeps nothing, and one in memory is there as a whole."""


class _Layout:
    """How the tiles or strips lie in the pages of a file that are alike."""

    def __init__(self, page: Any) -> None:
        self.page = page
        _, depth, height, width, _ = page.shaped
        # Several values where one was due arrive as a tuple, whose products are longer tuples.
        self.rows, self.columns = int(page.tilelength), int(page.tilewidth)
        if not page.is_tiled:
            self.rows, self.columns = min(page.rowsperstrip, height), width
        if depth != 1:
            raise ValueError(f"a page of depth {depth}")
        self.down, self.across = math.ceil(height / self.rows), math.ceil(width / self.columns)


class _DecodedPlanes:
    """Planes of a page each, in tiles or strips that are decoded as they are needed.

    They may lie in several files, which need not be compressed alike.
    """

    def __init__(self, series: tifffile.TiffPageSeries, leading: str) -> None:
        self.pages, self.leading, page = series.pages, leading, series.keyframe
        self.lengths = series.shape[: len(leading)]
        self.shaped, self.dtype = page.shaped, np.dtype(page.dtype)
        self.first = _Layout(page)
        self.layouts = {id(page): self.first}
        absent = []
        for number, each in enumerate(series.pages):
            if each is None:
                absent.append(number)
            elif id(each.keyframe) not in self.layouts:
                self.layouts[id(each.keyframe)] = _Layout(each.keyframe)
        self.missing = frozenset(absent)
        kinds = {(layout.page.shaped, layout.page.dtype) for layout in self.layouts.values()}
        if len(kinds) > 1:
            raise ValueError(f"planes of several shapes or depths: {sorted(map(str, kinds))}")
        separate, _, height, width, contiguous = page.shaped
        self.shape = (height, width, separate * contiguous)
        largest = max(layout.rows * layout.columns for layout in self.layouts.values())
        total = height * width * separate * contiguous * self.dtype.itemsize
        cached = min(total * len(series.pages), _CACHE_BYTES)
        self.resident_bytes = cached + largest * contiguous * self.dtype.itemsize
        self.cache: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()
        self.cached_bytes = 0

    def read(self, number: int, rows: slice, columns: slice) -> NDArray[Any]:
        separate, _, _, _, contiguous = self.shaped
        high, wide = rows.stop - rows.start, columns.stop - columns.start
        out = np.zeros((high, wide, separate, contiguous), self.dtype)
        lie = self._layout(number)
        for row in range(rows.start // lie.rows, math.ceil(rows.stop / lie.rows)):
            for column in range(
                columns.start // lie.columns, math.ceil(columns.stop / lie.columns)
            ):
                y, x = row * lie.rows - rows.start, column * lie.columns - columns.start
                for sample in range(separate):
                    index = (sample * lie.down + row) * lie.across + column
                    segment = self._segment(number, index)[max(-y, 0) :, max(-x, 0) :]
                    place = out[max(y, 0) :, max(x, 0) :, sample]
                    h, w = (min(a, b) for a, b in zip(segment.shape, place.shape[:2], strict=False))
                    place[:h, :w] = segment[:h, :w]
        return out.reshape(high, wide, separate * contiguous)

    def forget(self) -> None:
        self.cache.clear()
        self.cached_bytes = 0

    def _layout(self, number: int) -> _Layout:
        page = self.pages[number]
        return self.first if page is None else self.layouts[id(page.keyframe)]

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
        page, layout = self.pages[number], self._layout(number)
        data = None
        if page is not None and page.databytecounts[index]:
            with _open(page.parent.filehandle) as handle:
                handle.seek(page.dataoffsets[index])
                data = handle.read(page.databytecounts[index])
            _check_jpeg(data, layout)
        tables: dict[str, Any] = {}
        if page is not None and page.jpegtables is not None:
            tables = {"jpegtables": page.jpegtables, "jpegheader": layout.page.jpegheader}
        segment, _, shape = layout.page.decode(data, index, **tables)
        if segment is None:
            return np.full(shape[1:], layout.page.nodata, self.dtype)
        return np.asarray(segment[0])


@contextmanager
def _open(handle: tifffile.FileHandle) -> Iterator[tifffile.FileHandle]:
    """One of several files, which tifffile leaves closed: there may be more than can be open."""
    was_closed = handle.closed
    if was_closed:
        handle.open()
    try:
        yield handle
    finally:
        if was_closed:
            handle.close()


def _check_jpeg(data: bytes, layout: _Layout) -> None:
    """Refuse a JPEG image that is larger than its tile or strip, before it is decoded."""
    size = encoded_size(data)
    if size is not None and size.height * size.width > _JPEG_SLACK * layout.rows * layout.columns:
        raise ValueError(f"a JPEG of {size.width} x {size.height} pixels in a smaller tile")
