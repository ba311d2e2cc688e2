"""How large a PNG, JPEG or BMP image claims to be, known before its decoder allocates that much."""

import struct
from dataclasses import dataclass

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 4, 4: 4, 6: 4}  # by colour type, as OpenCV decodes it
_JPEG, _START_OF_SCAN, _END_OF_IMAGE = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
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
            width, height = struct.unpack_from("<ii", data, 18)
            height, pixel_bytes = abs(height), 4
        else:
            return None
    except (struct.error, KeyError):
        return None
    if width <= 0 or height <= 0:
        return None
    return EncodedSize(height, width, height * width * pixel_bytes)


def is_cut_short(data: bytes) -> bool:
    """Whether a JPEG file lacks its end; its decoder would fill in grey and say nothing."""
    if not data.startswith(_JPEG):
        return False
    # A preview in the header may have an end of its own, so nothing may be scanned after ours.
    end = data.rfind(_END_OF_IMAGE)
    return end < 0 or data.find(_START_OF_SCAN, end) >= 0


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
