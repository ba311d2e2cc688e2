"""BMP files: the kinds that OpenCV misreads or doesn't know."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import NotCompleteError, NotSupportedError

_HEADER = 40  # bytes at least; OpenCV misreads the shorter ones of OS/2
_OS2_HEADERS = (12, 16, 64)
_COLOURS = 54  # bytes before the masks or the palette
_PLAIN, _RUNS, _SHORT_RUNS, _MASKS, _JPEG, _PNG, _ALPHA_MASKS = range(7)
_NAMES = {_RUNS: "run-length", _SHORT_RUNS: "run-length", _JPEG: "JPEG in", _PNG: "PNG in"}
_BITS = (1, 4, 8, 16, 24, 32)
_MASKS_OF_16 = (0x7C00, 0x03E0, 0x001F)  # red, green, blue where none are given


@dataclass(frozen=True)
class BmpHeader:
    """What the header of a BMP tells.

    Attributes:
        start: of the pixels.
        header: bytes of the header.
        height, width: pixels; rows are stored upwards unless ``downwards``.
        bits: of a pixel.
        compression: how pixels are stored.
    """

    start: int
    header: int
    height: int
    width: int
    downwards: bool
    bits: int
    compression: int


def read_header(data: bytes) -> BmpHeader | None:
    """The header of a BMP, of which the rest may be missing."""
    try:
        start, header, width, height = struct.unpack_from("<IIii", data, 10)
        bits, compression = struct.unpack_from("<HI", data, 28)
    except struct.error:
        return None
    if header < _HEADER or header in _OS2_HEADERS:
        # Only to say what it is: its sizes lie elsewhere.
        return BmpHeader(start, header, 1, 1, False, 0, 0) if header in _OS2_HEADERS else None
    return BmpHeader(start, header, abs(height), width, height < 0, bits, compression)


def decode_masked(data: bytes) -> NDArray[np.uint8] | None:
    """The pixels of a BMP of 16 bits, or one that tells which bits are red, green and blue.

    Returns:
        (H, W, 3) RGB; None for the other kinds, which OpenCV reads.

    Raises:
        NotCompleteError: rows are missing.
        NotSupportedError: it is of a kind that OpenCV can't be trusted with.
    """
    found = read_header(data)
    if found is None:
        raise NotCompleteError("its header is broken")
    if found.header in _OS2_HEADERS:
        raise NotSupportedError("BMP of OS/2")
    if found.compression not in (_PLAIN, _MASKS, _ALPHA_MASKS):
        name = _NAMES.get(found.compression, "compressed")
        raise NotSupportedError(f"{name} BMP")
    if found.bits not in _BITS:
        raise NotSupportedError(f"BMP of {found.bits} bits")
    stride = (found.width * found.bits + 31) // 32 * 4
    if found.start + stride * found.height > len(data):
        raise NotCompleteError("it ends too early")
    if found.bits not in (16, 32) or (found.bits == 32 and found.compression == _PLAIN):
        if found.compression != _PLAIN:
            raise NotSupportedError(f"BMP of {found.bits} bits with masks")
        return None
    masks: tuple[Any, ...] = _MASKS_OF_16
    if found.compression != _PLAIN:
        masks = struct.unpack_from("<3I", data, _COLOURS)
    words = np.frombuffer(data, np.uint8, stride * found.height, found.start)
    rows = words.reshape(found.height, stride).view(f"<u{found.bits // 8}")[:, : found.width]
    image = np.dstack([_scaled(rows, mask) for mask in masks])
    return image if found.downwards else image[::-1]


def _scaled(words: NDArray[Any], mask: int) -> NDArray[np.uint8]:
    """Some bits of each word as a level from 0 to 255."""
    if not mask:
        return np.zeros(words.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    highest = mask >> shift
    if highest & (highest + 1) or mask >= 2 ** (8 * words.itemsize):
        raise NotSupportedError("BMP with scattered masks")
    levels = (words & words.dtype.type(mask)) >> shift
    if highest != 255:
        levels = np.rint(levels * (255 / highest))
    return np.asarray(levels.astype(np.uint8))
