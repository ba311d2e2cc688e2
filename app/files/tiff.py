"""TIFF files, read in parts: only the tiles or strips that a window touches are decoded."""

import logging
import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from .arrays import ImageError
from .planes import open_planes

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# A first or last axis without a name is channels if it is shorter than this, and the shortest.
_UNNAMED_CHANNELS = 8
_MAX_PAGES = 10_000
_MAX_CHANNELS = 256
_ALPHA = (1, 2)  # of the ExtraSamples tag: whether or not the colours were multiplied by it

# Colours that are neither grey nor red, green and blue; JPEG and JPEG 2000 turn YCbCr into RGB.
_OTHER_COLOURS = ("SEPARATED", "YCBCR", "CIELAB", "ICCLAB", "ITULAB", "LOGLUV")
_DECODES_COLOUR = (6, 7, 33003, 33004, 33005, 33007, 34712, 34892)

logger = logging.getLogger(__name__)


class TiffImage:
    """One two-dimensional image of a TIFF file; ``app.files.open.open_image`` has the rules.

    Attributes:
        shape: (H, W, C).
        dtype: of what is read.
        channel_names: of each channel, a name it lacks is ""; none where the file has none.
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
        _check_chain(self._file)
        series = max(self._file.series, key=lambda series: series.size)
        if not series.size or series.dtype is None or series.dtype.kind not in "buif":
            raise ImageError(
                f"{self.path}: holds {series.dtype} values in shape {series.shape}; "
                "export it as 8-bit, 16-bit or float"
            )
        if len(self._file.series) > 1:
            logger.warning("%d images in the file; the largest is used", len(self._file.series))
        axes = _name_axes(series.axes, series.shape)
        self._planes = open_planes(self.path, self._file, series, axes)
        self._numbers = self._choose_planes(axes, series.shape, stack)
        self._colours = _Colours(series.keyframe, self.path)
        height, width, samples = self._planes.shape
        plane_bytes = height * width * samples * series.dtype.itemsize
        self.decoded_bytes = plane_bytes * self._numbers.size
        self.resident_bytes = self._planes.resident_bytes
        nothing = np.zeros((1, 1, samples * self._numbers.shape[1]), series.dtype)
        pixel = self._colours.finish(nothing)
        self.dtype, self.shape = pixel.dtype, (height, width, pixel.shape[2])
        names = _channel_names(self._file, series)
        self.channel_names = names if len(names) == pixel.shape[2] and any(names) else ()

    def _choose_planes(self, axes: str, shape: tuple[int, ...], stack: str) -> NDArray[np.int64]:
        """Numbers (S, C) of the planes: the maximum over S, side by side along C."""
        letters = self._planes.leading
        lengths = [shape[axes.index(letter)] for letter in letters]
        numbers = np.arange(math.prod(lengths)).reshape(lengths)
        channels = [k for k, letter in enumerate(letters) if letter in "CS"]
        numbers = np.moveaxis(numbers, channels, range(-len(channels), 0))
        numbers = numbers.reshape(-1, math.prod(lengths[k] for k in channels))
        total = numbers.shape[1] * self._planes.shape[2]
        if total > _MAX_CHANNELS:
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
        except (ImageError, FileNotFoundError, PermissionError, MemoryError):
            raise
        # Broken files make tifffile and its codecs raise nearly any exception.
        except Exception as error:
            raise ImageError(
                f"{self.path}: not a complete TIFF file ({type(error).__name__}: {error}); "
                "copy or export it again"
            ) from error


def _check_chain(file: tifffile.TiffFile) -> None:
    """Follow the pages' pointers to one another, which may form a loop or lead out of the file.

    Raises:
        ValueError, struct.error: they do.
    """
    form, handle = file.tiff, file.filehandle
    offset = file.pages.first.offset
    if min(file.pages.first.shaped) < 0:
        raise ValueError(f"a page of shape {file.pages.first.shape}")
    seen: set[int] = set()
    while offset and not form.is_ndpi:  # which has pointers of its own kind
        if offset in seen:
            raise ValueError(f"the page at {offset} follows itself")
        if len(seen) == _MAX_PAGES:
            raise ValueError(f"more than {_MAX_PAGES} pages, but one image was wanted")
        seen.add(offset)
        handle.seek(offset)
        (tags,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
        handle.seek(tags * form.tagsize, os.SEEK_CUR)
        (offset,) = struct.unpack(form.offsetformat, handle.read(form.offsetsize))


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


def _channel_names(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> tuple[str, ...]:
    """The names that OME-XML or ImageJ gives to the channels or planes of a series."""
    names: list[str] = []
    if series.kind == "ome":
        images = ElementTree.fromstring(file.ome_metadata or "").findall("{*}Image")
        # Images without pixels in this file are no series, and then it is unknown which is which.
        if len(images) == len(file.series):
            image = next(i for i, s in zip(images, file.series, strict=True) if s is series)
            channels = image.findall("{*}Pixels/{*}Channel")
            names = [channel.get("Name", "") for channel in channels]
    elif series.kind == "imagej":
        labels = (file.imagej_metadata or {}).get("Labels", [])
        # What follows in further lines is not the name.
        names = [str(label).strip().partition("\n")[0] for label in labels]
    return tuple("".join(filter(str.isprintable, name)).strip() for name in names)


class _Colours:
    """From the samples of a page to channels: palette, inverted levels, alpha."""

    def __init__(self, page: Any, path: Path) -> None:
        photometric = tifffile.PHOTOMETRIC(page.photometric)
        is_decoded = photometric.name == "YCBCR" and page.compression in _DECODES_COLOUR
        if photometric.name in _OTHER_COLOURS and not is_decoded:
            raise ImageError(f"{path}: its colours are {photometric.name}; export it as RGB")
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
