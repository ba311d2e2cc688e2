"""The subblocks of a CZI file: tiles, each of one plane and compressed by itself.

Read are the kinds that libCZI, the library of the format's maker, decodes.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from .arrays import NotCompleteError, NotSupportedError

_SEGMENT = struct.Struct("<16sqq")  # name, bytes allocated, bytes used
_FILE = struct.Struct("<ii8x16s16siqqi")  # what follows the file's own segment header
_SUBBLOCK = struct.Struct("<iiq")  # bytes of metadata, of attachments and of pixels
_ENTRY = struct.Struct("<2siqiiB5xi")
_DIMENSION = struct.Struct("<4siifi")  # letter, start, size, coordinate, stored size
_DIRECTORY_HEADER, _METADATA_HEADER, _SUBBLOCK_HEADER = 128, 256, 256  # bytes
# A subblock that has this attachment tells which of its pixels count.
_MASK = bytes.fromhex("67eae3cbfc5b2b49a16aece378031448")
_MASK_REACH = 36  # bytes of the attachments in which it stands

# By the number of a pixel type: values and samples; three are blue, green, red, and then alpha.
_PIXELS = {0: ("<u1", 1), 1: ("<u2", 1), 2: ("<f4", 1), 3: ("<u1", 3), 4: ("<u2", 3)}
_PIXELS |= {8: ("<f4", 3), 9: ("<u1", 4), 12: ("<i4", 1), 13: ("<f8", 1)}
_PLAIN, _JPEG_XR, _ZSTD, _ZSTD_SHUFFLED = 0, 4, 5, 6
# Readers differ in whether JPEG has red or blue first; of LZW no sample is public.
_COMPRESSIONS = {1: "JPEG", 2: "LZW", 3: "lossless JPEG", 7: "chunks"}
_SHUFFLED = bytes([3, 1, 1])  # before the data: all low bytes come first, then all high ones
_NOT_SHUFFLED = (b"\x01", bytes([3, 1, 0]))


@dataclass(frozen=True)
class Subblock:
    """A tile.

    Attributes:
        position: of it in the file.
        plane: the number of its plane along each axis but height and width.
        top, left: its place among all tiles, in pixels; may be negative.
        height, width: pixels.
        order: of two that overlap, the higher one is seen.
        is_reduced: it repeats others at a lower resolution.
        pixel_type: a number of the format.
        compression: a number of the format.
    """

    position: int
    plane: dict[str, int]
    top: int
    left: int
    height: int
    width: int
    order: int
    is_reduced: bool
    pixel_type: int
    compression: int

    def check(self) -> None:
        """Whether it can be decoded.

        Raises:
            NotSupportedError: for its compression, or since its values are no real numbers.
        """
        if self.compression not in _DECODERS:
            name = _COMPRESSIONS.get(self.compression, f"method {self.compression}")
            raise NotSupportedError(f"CZI compressed by {name}")
        if self.pixel_type not in _PIXELS:
            raise NotSupportedError(f"CZI with pixels of type {self.pixel_type}")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its values."""
        return np.dtype(_PIXELS[self.pixel_type][0])

    @property
    def samples(self) -> int:
        """Values of a pixel; colours are red, green and blue, and then alpha."""
        return _PIXELS[self.pixel_type][1]

    @property
    def nbytes(self) -> int:
        """Of it, decoded."""
        return self.height * self.width * self.samples * self.dtype.itemsize


@dataclass(frozen=True)
class Contents:
    """What is in a CZI file.

    Attributes:
        subblocks: in the order of the file.
        metadata: XML.
        is_open: its writer did not come to its end.
    """

    subblocks: list[Subblock]
    metadata: bytes
    is_open: bool


def read_contents(path: Path) -> Contents:
    """Read what a CZI file says of itself, and no pixels.

    Raises:
        NotCompleteError: it ends too early, or leads out of itself.
        NotSupportedError: it is one of several files, or has subblocks of several planes.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        _find(file, 0, b"ZISRAWFILE")
        header = _take(file, file.tell(), _FILE.size)
        *_, part, directory, metadata, pending = _FILE.unpack(header)
        if part:
            raise NotSupportedError("CZI of several files")
        size = _find(file, directory, b"ZISRAWDIRECTORY")
        entries = _take(file, file.tell(), size)
        xml = b""
        if metadata:
            _find(file, metadata, b"ZISRAWMETADATA")
            start = file.tell()
            size = int.from_bytes(file.read(4), "little", signed=True)
            xml = _take(file, start + _METADATA_HEADER, size)
    count = int.from_bytes(entries[:4], "little")
    place, subblocks = _DIRECTORY_HEADER, list[Subblock]()
    for _ in range(count):
        subblock, place = _read_entry(entries, place)
        subblocks.append(subblock)
    return Contents(subblocks, xml, bool(pending))


def decode(path: Path, subblock: Subblock) -> NDArray[Any]:
    """The pixels of a subblock, (h, w, S).

    Raises:
        NotCompleteError: they aren't all there.
        NotSupportedError: some of them don't count.
        OSError: the file can't be read.
        RuntimeError, ValueError: they can't be decoded.
    """
    with path.open("rb") as file:
        _find(file, subblock.position, b"ZISRAWSUBBLOCK")
        start = file.tell()
        head = _take(file, start, _SUBBLOCK.size + _ENTRY.size)
        described, attached, size = _SUBBLOCK.unpack_from(head)
        *_, dimensions = _ENTRY.unpack_from(head, _SUBBLOCK.size)
        length = max(_SUBBLOCK_HEADER, len(head) + dimensions * _DIMENSION.size)
        data = _take(file, start + length + described, size)
        if attached and _MASK in file.read(_MASK_REACH):
            raise NotSupportedError("CZI with tiles of which only a part counts")
    return _DECODERS[subblock.compression](data, subblock)


def _find(file: BinaryIO, position: int, name: bytes) -> int:
    """Go to what is in a segment; its bytes."""
    found, allocated, used = _SEGMENT.unpack(_take(file, position, _SEGMENT.size))
    if found.rstrip(b"\0") != name:
        raise NotCompleteError(f"its {name.decode()} is not there")
    return int(used or allocated)  # old writers leave out the first


def _take(file: BinaryIO, position: int, size: int) -> bytes:
    """So many bytes from a place on, all of them there."""
    if not 0 <= position <= position + size <= file.seek(0, SEEK_END):
        raise NotCompleteError("it ends too early")
    file.seek(position)
    return file.read(size)


def _unpack(layout: struct.Struct, data: bytes, place: int = 0) -> tuple[Any, ...]:
    if place + layout.size > len(data):
        raise NotCompleteError("it ends too early")
    return layout.unpack_from(data, place)


def _read_entry(data: bytes, place: int) -> tuple[Subblock, int]:
    """One subblock of the directory, and where the next one begins."""
    schema, pixel_type, position, part, compression, _, count = _unpack(_ENTRY, data, place)
    if schema != b"DV" or count < 0:
        raise NotCompleteError("its directory is broken")
    if part:
        raise NotSupportedError("CZI of several files")
    place += _ENTRY.size
    starts, sizes, stored = dict[str, int](), dict[str, int](), dict[str, int]()
    for _ in range(count):
        name, start, size, _, kept = _unpack(_DIMENSION, data, place)
        letter = name.rstrip(b"\0").decode("latin-1")
        starts[letter], sizes[letter], stored[letter] = start, size, kept or size
        place += _DIMENSION.size
    if min(sizes.get("Y", 0), sizes.get("X", 0)) <= 0:
        raise NotCompleteError("a tile without height or width")
    if any(size > 1 for letter, size in sizes.items() if letter not in "YXM"):
        raise NotSupportedError("CZI with several planes in a subblock")
    plane = {letter: start for letter, start in starts.items() if letter not in "YXM"}
    is_reduced = any(sizes[letter] != stored[letter] for letter in "YX")
    corner, size = (starts["Y"], starts["X"]), (sizes["Y"], sizes["X"])
    order = starts.get("M", 0)
    return Subblock(
        position, plane, *corner, *size, order, is_reduced, pixel_type, compression
    ), place


def _decode_plain(data: bytes, subblock: Subblock) -> NDArray[Any]:
    if len(data) != subblock.nbytes:
        raise NotCompleteError(f"{len(data)} bytes of a tile, {subblock.nbytes} were wanted")
    pixels = np.frombuffer(data, subblock.dtype)
    pixels = pixels.reshape(subblock.height, subblock.width, subblock.samples)
    return pixels if subblock.samples == 1 else pixels[:, :, [2, 1, 0, 3][: subblock.samples]]


def _decode_zstd(data: bytes, subblock: Subblock) -> NDArray[Any]:
    decoded = imagecodecs.zstd_decode(data, out=subblock.nbytes)
    return _decode_plain(bytes(decoded), subblock)


def _decode_shuffled(data: bytes, subblock: Subblock) -> NDArray[Any]:
    header = next((known for known in (_SHUFFLED, *_NOT_SHUFFLED) if data.startswith(known)), None)
    if header is None or (header == _SHUFFLED and subblock.dtype.itemsize != 2):
        raise NotSupportedError("CZI compressed by zstd with other options")
    if header != _SHUFFLED:
        return _decode_zstd(data[len(header) :], subblock)
    decoded = imagecodecs.zstd_decode(data[len(header) :], out=subblock.nbytes)
    halves = np.frombuffer(decoded, np.uint8).reshape(2, -1)
    return _decode_plain(np.ascontiguousarray(halves.T).tobytes(), subblock)


def _decode_jpeg_xr(data: bytes, subblock: Subblock) -> NDArray[Any]:
    shape = (subblock.height, subblock.width, subblock.samples)
    # The array that it shall fill is refused where its header claims another size.
    pixels = np.empty(shape[:2] if shape[2] == 1 else shape, subblock.dtype)
    return np.asarray(imagecodecs.jpegxr_decode(data, out=pixels)).reshape(shape)


_DECODERS: dict[int, Callable[[bytes, Subblock], NDArray[Any]]] = {
    _PLAIN: _decode_plain,
    _JPEG_XR: _decode_jpeg_xr,
    _ZSTD: _decode_zstd,
    _ZSTD_SHUFFLED: _decode_shuffled,
}
