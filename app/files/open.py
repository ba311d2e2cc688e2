"""Image files as arrays that can be read in parts; whatever can't be read is one kind of error."""

import errno
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .animation import Animation
from .arrays import ImageError as ImageError
from .arrays import NotCompleteError, NotSupportedError, Pixels, size_text
from .bmp import decode_masked
from .czi import CziImage
from .folder import find_images as find_images
from .header import encoded_size
from .jpeg import clean
from .kinds import BMP, CZI, HEAD, JPEG, PNG, READ, TIFF, identify, remedy
from .kinds import SUFFIXES as SUFFIXES
from .pixel_size import Size, png_pixel_size
from .png import Frame, compose, is_animated, split_animation
from .stacks import planes_of
from .tiff import TiffImage

# What compresses better than this is no picture of cells but a bomb, or its header lies.
_MAX_COMPRESSION = 1000
_HARMLESS = 2**28  # bytes, however they were compressed
_HEADER = 2**16  # bytes of a file in which its size is looked for
_AT_ONCE = 3  # planes of an animation: one, the one before, and the highest so far
_TO_DO = {
    errno.ENOENT: "it was moved or removed meanwhile: put it back",
    errno.EACCES: "make it readable, or run as a user who may read it",
    errno.EIO: "check the disk or the connection to it",
}
_IN_PARTS: dict[str, type[TiffImage] | type[CziImage]] = {TIFF: TiffImage, CZI: CziImage}


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
    - Tiles of a CZI are put together as in ZEN; between them, pixels are 0.
    - An animation in a PNG file is a stack, unless the picture that others see is no part of it.
    - Axes that a TIFF calls channels or samples are channels. An axis that it does not name is
      channels if it is the shortest and shorter than 8, and else a stack.

    Args:
        path: a PNG, JPEG, BMP, TIFF (also SVS, SCN, NDPI, QPTIFF, LSM and BTF) or CZI file.
        stack: what to do with planes in depth or time: ``refuse``, ``max`` (their maximum), the
            number of one of them, from 0, or ``each``: ``planes_of`` the image gives them.
        max_bytes: memory that the image may take; None for no limit. A CZI in tiles, and a TIFF in
            tiles or strips or without compression, take little; all others take their whole decoded
            size.

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
        if kind not in _IN_PARTS:
            return nullcontext(_decode(path, kind, stack, max_bytes))
        image = _IN_PARTS[kind](path, stack)
    except OSError as error:
        what = _TO_DO.get(error.errno or 0, "check the file and its disk")
        raise ImageError(f"{path}: can't be opened ({error.strerror}); {what}") from error
    claimed = max(image.decoded_bytes, image.resident_bytes)  # one tile may claim more than all
    try:
        _check_size(path, image.shape, claimed, image.resident_bytes, max_bytes)
    except ImageError:
        image.close()
        raise
    return image


@dataclass(frozen=True)
class Claim:
    """What an image says of its size.

    Attributes:
        pixels: height times width; of all planes together where each is wanted.
        bytes: of memory that it takes at most.
    """

    pixels: float
    bytes: float


_UNKNOWN = Claim(math.inf, math.inf)


def claimed_size(path: Path, stack: str = "refuse") -> Claim:
    """The size of an image by its header; infinite where that doesn't tell.

    Args:
        path: as for ``open_image``, as is ``stack``.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_HEADER)
        kind = identify(data, path.suffix)
        if kind in _IN_PARTS:
            with _IN_PARTS[kind](path, stack) as image:
                grid, _ = planes_of(image)
                pixels = math.prod(image.shape[:2]) * len(grid.positions)
                return Claim(pixels, image.resident_bytes)
    except (OSError, ImageError):
        return _UNKNOWN
    size = encoded_size(data)
    if size is None or (stack == "each" and is_animated(data)):
        return _UNKNOWN
    return Claim(size.height * size.width, size.bytes * (_AT_ONCE if is_animated(data) else 1))


def read_image(path: Path) -> NDArray[Any]:
    """Read a whole image, as ``open_image`` opens it: (H, W), or (H, W, C) of several channels."""
    with open_image(path) as image:
        pixels = image[:, :]
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def resident_bytes(image: Pixels) -> int:
    """Memory that an open image takes at most."""
    if isinstance(image, TiffImage | CziImage | Animation):
        return image.resident_bytes
    return np.asarray(image).nbytes


def channel_names(image: Pixels) -> tuple[str, ...]:
    """The names of an open image's channels, where its file has them."""
    return image.channel_names if isinstance(image, TiffImage | CziImage) else ()


def pixel_size(path: Path, image: Pixels | None = None) -> Size | None:
    """The (y, x) micrometres of a pixel, or None where the file doesn't tell.

    By OME, ImageJ, Aperio, LSM, CZI, TIFF's resolution and PNG's; the last two only up to 20
    micrometres, for 72 dots an inch and the like are said of any picture.

    Args:
        path: of an image that can be opened.
        image: the same where it is open.

    Raises:
        ImageError: it can't.
        OSError: it can't be read.
    """
    if isinstance(image, TiffImage | CziImage):
        return image.pixel_size
    with path.open("rb") as file:
        data = file.read(_HEADER)
    kind = identify(data, path.suffix)
    if kind in _IN_PARTS:
        with _IN_PARTS[kind](path, "max") as opened:
            return opened.pixel_size
    return png_pixel_size(data) if kind == PNG else None


def _decode(path: Path, kind: str, stack: str, max_bytes: int | None) -> Pixels:
    """A PNG, JPEG or BMP file to (H, W, C)."""
    data = path.read_bytes()
    with _blamed(path, kind):
        if not kind:
            raise NotCompleteError(size_text(len(data)))
        data, frames = _prepare(data, kind)
        size = encoded_size(data)
        if size is None:
            raise NotCompleteError("its header is broken")
        resident = size.bytes * (_AT_ONCE if len(frames) > 1 else 1)
        _check_size(path, (size.height, size.width), size.bytes, resident, max_bytes)
        if len(frames) > 1:
            return _choose_frame(path, frames, (size.height, size.width), stack)
        masked = decode_masked(data) if kind == BMP else None
        return decode(data) if masked is None else masked


@contextmanager
def _blamed(path: Path, kind: str) -> Iterator[None]:
    """Name the file, whatever is wrong with it."""
    try:
        yield
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


def _choose_frame(path: Path, frames: list[Frame], shape: tuple[int, int], stack: str) -> Pixels:
    """The plane of an animation that was asked for, (H, W, C), or each of them."""
    what = f"{path}: holds an animation of {len(frames)} frames"
    if stack == "refuse":
        raise ImageError(
            f"{what}, but one two-dimensional image was wanted; export one frame, or choose with "
            "--stack each, max or NUMBER"
        )

    def decode_frame(data: bytes) -> NDArray[Any]:
        with _blamed(path, PNG):
            return decode(data)

    if stack == "each":
        return Animation(frames, shape, decode_frame)
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
