"""How large a PNG, JPEG or BMP image claims to be, known before its decoder allocates that much."""

import struct
from dataclasses import dataclass

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 4, 4: 4, 6: 4}  # by colour type, as OpenCV decodes it
_JPEG, _START_OF_SCAN, _END_OF_IMAGE = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
_MAX_SCANS = 100  # of a progressive JPEG; each goes over the whole image, about ten are usual
_CHUNK_FRAME = 12  # bytes of a PNG chunk beside its content
_BMP_HEADER = 40  # bytes at least; OpenCV misreads the shorter ones of OS/2
# Start of frame: baseline to differential lossless, without the tables (C4, C8, CC) among them.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class EncodedSize:
    """Height and width in pixels, and the bytes that the decoded image takes."""

    height: int
    width: int
    bytes: int


def encoded_size(data: bytes) -> EncodedSize | None:
    """The size that the header of a PNG, JPEG or BMP file claims.

    Args:
        data: the file.

    Returns:
        None where it is neither, or broken.
    """
    try:
        if data.startswith(_PNG):
            width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
            pixel_bytes = _PNG_CHANNELS[colour] * max(1, depth // 8)
        elif data.startswith(_JPEG):
            height, width, pixel_bytes = _jpeg_frame(data)
        elif data.startswith(b"BM"):
            (header,) = struct.unpack_from("<I", data, 14)
            if header < _BMP_HEADER:
                return None
            width, height = struct.unpack_from("<ii", data, 18)
            height, pixel_bytes = abs(height), 4
        else:
            return None
    except (struct.error, KeyError):
        return None
    if width <= 0 or height <= 0:
        return None
    return EncodedSize(height, width, height * width * pixel_bytes)


def is_broken(data: bytes) -> bool:
    """Whether a PNG or JPEG file lacks its end, or would keep its decoder busy for ages."""
    if data.startswith(_PNG):
        return _is_broken_png(data)
    if not data.startswith(_JPEG):
        return False
    # The decoder fills in grey for what is missing and says nothing. A preview in the header may
    # have an end of its own, so nothing may be scanned after the end.
    end = data.rfind(_END_OF_IMAGE)
    is_cut = end < 0 or data.find(_START_OF_SCAN, end) >= 0
    return is_cut or data.count(_START_OF_SCAN) > _MAX_SCANS


def _is_broken_png(data: bytes) -> bool:
    """Whether the chunks lead out of the file; the decoder would allocate what they claim."""
    position, kind = len(_PNG), b""
    while kind != b"IEND":
        if position + _CHUNK_FRAME > len(data):
            return True
        length, kind = struct.unpack_from(">I4s", data, position)
        position += length + _CHUNK_FRAME
    return position > len(data)


def _jpeg_frame(data: bytes) -> tuple[int, int, int]:
    """Height, width and components from a JPEG's start of frame.

    Raises:
        struct.error: there is none.
    """
    position = 2
    while True:
        marker, length = struct.unpack_from(">HH", data, position)
        if marker >> 8 != 0xFF:
            raise struct.error("no marker where one was due")
        if marker == 0xFFFF:  # a fill byte
            position += 1
        elif marker & 0xFF in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, position + 5)
            return height, width, components
        else:
            position += 2 + length
