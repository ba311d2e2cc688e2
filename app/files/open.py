"""Image files as arrays that can be read in parts; whatever can't be read is one kind of error."""

import math
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .arrays import ImageError as ImageError
from .arrays import Pixels, size_text
from .header import encoded_size, is_broken
from .tiff import TIFF_MAGIC, TiffImage

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
# What compresses better than this is no picture of cells but a bomb, or its header lies.
_MAX_COMPRESSION = 1000
_HARMLESS = 2**28  # bytes, however they were compressed
_HEADER = 2**16  # bytes of a file in which its size is looked for


def find_images(folder: Path) -> list[Path]:
    """The images of a folder, by their suffix, sorted; no hidden files and no subfolders."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def open_image(
    path: Path, stack: str = "refuse", max_bytes: int | None = None
) -> AbstractContextManager[Pixels]:
    """Open one image at its own depth, whatever its name says it is.

    The rules, where files leave room for several readings:

    - Orientation tags are not applied: labels and outlines refer to the stored pixels.
    - Palettes become RGB; levels of which 0 is white are inverted; bits become 0 and 1.
    - Alpha is dropped. In PNG and BMP a fourth channel is alpha; in TIFF the file's ExtraSamples
      tag tells alpha from a fourth stain.
    - Of several images in a TIFF (a pyramid, a thumbnail) the largest is taken.
    - Axes that a TIFF calls channels or samples are channels. An axis that it does not name is
      channels if it is the shortest and shorter than 8, and else a stack.

    Args:
        path: a PNG, JPEG, BMP or TIFF file.
        stack: what to do with planes in depth or time: ``refuse``, ``max`` (their maximum), or
            the number of one of them, from 0.
        max_bytes: memory that the image may take; None for no limit. A TIFF in tiles or strips,
            or without compression, takes little; all others take their whole decoded size.

    Returns:
        A context; in it the image, (H, W, C), any integer or float dtype, three channels RGB.
        Reading a part may raise ``ImageError``, too.

    Raises:
        ImageError: the file is empty, broken, not one two-dimensional image, or too large.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if not magic:
            raise ImageError(f"{path}: the file is empty; copy or export it again")
        if magic not in TIFF_MAGIC:
            return nullcontext(_decode(path, max_bytes))
        tiff = TiffImage(path, stack)
    except OSError as error:
        raise ImageError(f"{path}: can't be opened ({error.strerror}); check the file") from error
    claimed = max(tiff.decoded_bytes, tiff.resident_bytes)  # one tile may claim more than all
    try:
        _check_size(path, tiff.shape, claimed, tiff.resident_bytes, max_bytes)
    except ImageError:
        tiff.close()
        raise
    return tiff


def claimed_pixels(path: Path, stack: str = "refuse") -> float:
    """Height times width of an image by its header, or infinity where that doesn't tell.

    Args:
        path: as for ``open_image``, as is ``stack``.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_HEADER)
        if data[:4] in TIFF_MAGIC:
            with TiffImage(path, stack) as tiff:
                return float(math.prod(tiff.shape[:2]))
    except (OSError, ImageError):
        return math.inf
    size = encoded_size(data)
    return size.height * size.width if size else math.inf


def read_image(path: Path) -> NDArray[Any]:
    """Read a whole image, as ``open_image`` opens it: (H, W), or (H, W, C) of several channels."""
    with open_image(path) as image:
        pixels = image[:, :]
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def resident_bytes(image: Pixels) -> int:
    """Memory that an open image takes at most."""
    return image.resident_bytes if isinstance(image, TiffImage) else np.asarray(image).nbytes


def channel_names(image: Pixels) -> tuple[str, ...]:
    """The names of an open image's channels, where its file has them."""
    return image.channel_names if isinstance(image, TiffImage) else ()


def _decode(path: Path, max_bytes: int | None) -> NDArray[Any]:
    """A PNG, JPEG or BMP file to (H, W, C)."""
    data = path.read_bytes()
    wrong = (
        f"{path}: not a complete PNG, JPEG, BMP or TIFF image, whatever its name says "
        f"({size_text(len(data))}); copy or export it again"
    )
    size = encoded_size(data)
    if size is None or is_broken(data):
        raise ImageError(wrong)
    _check_size(path, (size.height, size.width), size.bytes, size.bytes, max_bytes)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"{path}: can't be decoded ({error.err}); export it again") from error
    if image is None:
        raise ImageError(wrong)
    if image.ndim == 2:
        return np.asarray(image)[:, :, None]
    return np.asarray(image)[:, :, 2::-1]  # blue, green, red and alpha to RGB


def _check_size(
    path: Path, shape: tuple[int, ...], decoded: int, resident: int, most: int | None
) -> None:
    """Refuse an image before anything of its size is allocated."""
    stored = path.stat().st_size
    if decoded > max(_HARMLESS, _MAX_COMPRESSION * stored):
        raise ImageError(
            f"{path}: claims {shape[1]} x {shape[0]} pixels, {size_text(decoded)}, in a file of "
            f"{size_text(stored)}; that is broken or a decompression bomb; export it again"
        )
    if most is not None and resident > most:
        raise ImageError(
            f"{path}: would take {size_text(resident)} of memory, but {size_text(most)} are left "
            "for it; give more (--max-memory), or save it as a tiled TIFF, which is read in parts"
        )
