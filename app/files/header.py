"""How large a PNG, JPEG or BMP image claims to be, known before its decoder allocates that much."""

import struct
from dataclasses import dataclass

from .bmp import read_header
from .jpeg import read_frame
from .kinds import BMP, JPEG, PNG, identify

_PNG_CHANNELS = {0: 1, 2: 3, 3: 4, 4: 4, 6: 4}  # by colour type, as OpenCV decodes it


@dataclass(frozen=True)
class EncodedSize:
    """Height and width in pixels, and the bytes that the decoded image takes."""

    height: int
    width: int
    bytes: int


def encoded_size(data: bytes) -> EncodedSize | None:
    """The size that the header of a PNG, JPEG or BMP file claims.

    Args:
        data: the file, or its beginning.

    Returns:
        None where it is neither, or broken.
    """
    kind = identify(data, "")
    height = width = pixel_bytes = 0
    if kind == PNG:
        try:
            width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
        except struct.error:
            return None
        pixel_bytes = _PNG_CHANNELS.get(colour, 0) * max(1, depth // 8)
    elif kind == JPEG and (frame := read_frame(data)):
        height, width = frame.height, frame.width
        pixel_bytes = frame.components * max(1, frame.bits // 8)
    elif kind == BMP and (header := read_header(data)):
        height, width, pixel_bytes = header.height, header.width, 4
    if min(height, width, pixel_bytes) <= 0:
        return None
    return EncodedSize(height, width, height * width * pixel_bytes)
