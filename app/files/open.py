"""Image files as arrays that can be read in parts; whatever can't be read is one kind of error."""

import math
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .arrays import ImageError as ImageError
from .arrays import NotCompleteError, NotSupportedError, Pixels, size_text
from .bmp import decode_masked
from .folder import find_images as find_images
from .header import encoded_size
from .jpeg import clean
from .kinds import BMP, HEAD, JPEG, PNG, READ, TIFF, identify, remedy
from .kinds import SUFFIXES as SUFFIXES
from .pixel_size import Size, png_pixel_size
from .png import Frame, compose, split_animation
from .tiff import TiffImage

# What compresses better than this is no picture of cells but a bomb, or its header lies.
_MAX_COMPRESSION = 1000
_HARMLESS = 2**28  # bytes, however they were compressed
_HEADER = 2**16  # bytes of a file in which its size is looked for


def open_image(
    path: Path, stack: str = "refuse", max_bytes: int | None = None
) -> AbstractContextManager[Pixels]:
    """Open one image at its own depth, whatever its name says it is.

    The rules, where files leave room for several readings:

    - Orientation tags are not applied: labels and outlines refer to the stored pixels.
    - Palettes become RGB; levels of which 0 is white are inverted; bits become 0 and 1.
    - Alpha is dropped. In PNG and BMP a fourth channel is alpha; in TIFF the file's ExtraSamples
      tag tells alpha from a fourth stain.
    - Of several images in a TIFF (a pyramid, a thumbnail) the largest is taken. Planes that an OME
      description finds in other files beside it are read from these.
    - What a description or a pointer promises and is not in the file is left out, with a warning.
    - An animation in a PNG file is a stack, unless the picture that others see is no part of it.
    - Axes that a TIFF calls channels or samples are channels. An axis that it does not name is
      channels if it is the shortest and shorter than 8, and else a stack.

    Args:
        path: a PNG, JPEG, BMP or TIFF file (also SVS, SCN, NDPI, QPTIFF, LSM and BTF).
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
            head = file.read(HEAD)
        if not head:
            raise ImageError(f"{path}: the file is empty; copy or export it again")
        kind = identify(head, path.suffix)
        if kind and kind not in READ:
            raise ImageError(f"{path}: {kind} is not supported; {remedy(kind)}")
        if kind != TIFF:
            return nullcontext(_decode(path, kind, stack, max_bytes))
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
        if identify(data, path.suffix) == TIFF:
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


def pixel_size(path: Path) -> Size | None:
    """The (y, x) micrometres of a pixel, or None where the file doesn't tell.

    By OME, ImageJ, Aperio, LSM, TIFF's resolution and PNG's; the last two only up to 20
    micrometres, for 72 dots an inch and the like are said of any picture.

    Args:
        path: of an image that can be opened.

    Raises:
        ImageError: it can't.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        data = file.read(_HEADER)
    kind = identify(data, path.suffix)
    if kind == TIFF:
        with TiffImage(path, "max") as tiff:
            return tiff.pixel_size
    return png_pixel_size(data) if kind == PNG else None


def _decode(path: Path, kind: str, stack: str, max_bytes: int | None) -> NDArray[Any]:
    """A PNG, JPEG or BMP file to (H, W, C)."""
    data = path.read_bytes()
    try:
        if not kind:
            raise NotCompleteError(size_text(len(data)))
        data, frames = _prepare(data, kind)
        size = encoded_size(data)
        if size is None:
            raise NotCompleteError("its header is broken")
        # Beside an animation's plane there are the one before and the highest so far.
        resident = size.bytes * (3 if len(frames) > 1 else 1)
        _check_size(path, (size.height, size.width), size.bytes, resident, max_bytes)
        if len(frames) > 1:
            return _choose_frame(path, frames, (size.height, size.width), stack)
        masked = decode_masked(data) if kind == BMP else None
        return decode(data) if masked is None else masked
    except NotSupportedError as error:
        raise ImageError(f"{path}: {error} is not supported; export it as PNG or TIFF") from error
    except NotCompleteError as error:
        what = kind or "PNG, JPEG, BMP or TIFF"
        raise ImageError(
            f"{path}: not a complete {what} file, whatever its name says ({error}); copy or "
            "export it again"
        ) from error
    except cv2.error as error:
        raise ImageError(f"{path}: can't be decoded ({error.err}); export it again") from error


def _prepare(data: bytes, kind: str) -> tuple[bytes, list[Frame]]:
    """A file without what its decoder stumbles over, and the frames of an animation."""
    if kind == JPEG:
        return clean(data), []
    return (data, []) if kind == BMP else split_animation(data)


def decode(data: bytes) -> NDArray[Any]:
    """A PNG, JPEG or BMP file to (H, W, C), by OpenCV.

    Raises:
        NotCompleteError: OpenCV can't.
        cv2.error: as well.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise NotCompleteError("its pixels can't be decoded")
    if image.ndim == 2:
        return np.asarray(image)[:, :, None]
    return np.asarray(image)[:, :, 2::-1]  # blue, green, red and alpha to RGB


def _choose_frame(
    path: Path, frames: list[Frame], shape: tuple[int, int], stack: str
) -> NDArray[Any]:
    """The plane of an animation that was asked for, (H, W, C)."""
    what = f"{path}: holds an animation of {len(frames)} frames"
    if stack == "refuse":
        raise ImageError(
            f"{what}, but one two-dimensional image was wanted; export one frame, or choose with "
            "--stack max or --stack NUMBER"
        )
    if stack != "max" and int(stack) >= len(frames):
        raise ImageError(f"{what}; --stack {stack} was wanted, 0 to {len(frames) - 1} are")
    chosen = frames if stack == "max" else frames[: int(stack) + 1]
    planes = compose(chosen, shape, decode)
    found = next(planes).copy()
    for plane in planes:
        found = np.maximum(found, plane) if stack == "max" else plane.copy()
    return found


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
