"""JPEG files: their segments, and whether they are of the kind that is decoded."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .arrays import NotCompleteError, NotSupportedError

_START, _END, _SCAN, _LOSSLESS_FRAME = 0xD8, 0xD9, 0xDA, 0xF7
_ALONE = frozenset(range(0xD0, 0xD9)) | {0x01}  # markers that no length follows
# Start of frame: baseline to differential lossless, without the tables (C4, C8, CC) among them.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {_LOSSLESS_FRAME}
_DECODED = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive, with Huffman codes
_ARITHMETIC = (0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
_FIRST_SEGMENT = 0xC0  # lower markers are reserved
_MAX_SCANS = 100  # of a progressive JPEG; each goes over the whole image, about ten are usual

# Decoders pass over what lies between two segments.
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_MARKER_AFTER_SCAN = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")


@dataclass(frozen=True)
class JpegFrame:
    """What the header of a JPEG tells.

    Attributes:
        marker: the kind of compression.
        bits: of a value.
        height, width: pixels.
        components: channels.
    """

    marker: int
    bits: int
    height: int
    width: int
    components: int


def read_frame(data: bytes) -> JpegFrame | None:
    """The header of a JPEG image, of which the rest may be missing."""
    try:
        for marker, start, _ in _segments(data):
            if marker in _FRAMES:
                bits, *sizes = struct.unpack_from(">BHHB", data, start + 4)
                return JpegFrame(marker, bits, *sizes)
    except (struct.error, NotCompleteError):
        pass
    return None


def clean(data: bytes) -> bytes:
    """The segments of a JPEG file without what lies between and after them.

    Raises:
        NotCompleteError: it lacks its end. The decoder would fill in grey and say nothing.
        NotSupportedError: it isn't of 8 bits, grey or three colours, Huffman-coded.
    """
    frame = read_frame(data)
    if frame is None:
        raise NotCompleteError("its header is not there")
    _check_kind(frame)
    parts, scans = [data[:2]], 0
    place = 2
    is_tight = True
    for marker, start, end in _segments(data):
        is_tight = is_tight and start == place
        parts.append(data[start:end])
        place = end
        scans += marker == _SCAN
        if scans > _MAX_SCANS:
            raise NotSupportedError(f"JPEG of more than {_MAX_SCANS} scans")
        if marker < _FIRST_SEGMENT and marker not in _ALONE:
            raise NotCompleteError("its data are broken")
    return data[:place] if is_tight else b"".join(parts)


def _check_kind(frame: JpegFrame) -> None:
    if frame.marker == _LOSSLESS_FRAME:
        raise NotSupportedError("JPEG-LS")
    if frame.marker in _ARITHMETIC:
        raise NotSupportedError("arithmetic-coded JPEG")
    if frame.marker in _LOSSLESS:
        raise NotSupportedError("lossless JPEG")
    if frame.marker not in _DECODED:
        raise NotSupportedError("hierarchical JPEG")
    if frame.bits != 8:
        raise NotSupportedError(f"{frame.bits}-bit JPEG")
    if frame.components == 4:
        raise NotSupportedError("CMYK JPEG")
    if frame.components not in (1, 3):
        raise NotSupportedError(f"JPEG of {frame.components} components")
    if not frame.height:
        raise NotSupportedError("JPEG without a height")


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment up to the end of the image; a scan with its data.

    Raises:
        NotCompleteError: the file ends before.
    """
    place, marker = 2, _START
    while marker != _END:
        match = _MARKER.search(data, place)
        if match is None:
            raise NotCompleteError("it lacks its end")
        marker, start, end = match[1][0], match.end() - 2, match.end()
        if marker not in _ALONE and marker != _END:
            length = int.from_bytes(data[end : end + 2], "big")
            if length < 2 or end + length > len(data):
                raise NotCompleteError("it ends too early")
            end += length
            if marker == _SCAN:
                following = _MARKER_AFTER_SCAN.search(data, end)
                if following is None:
                    raise NotCompleteError("it lacks its end")
                end = following.start()
        yield marker, start, end
        place = end
