"""PNG files: their chunks, which hold one picture, or the frames of an animation."""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import NotCompleteError, NotSupportedError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_AROUND = 12  # bytes of a chunk beside its content
_HEADER, _FRAME_HEADER = 13, 26  # bytes
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_ALPHA_COLOURS = (4, 6)
_CLEAR, _RESTORE = 1, 2  # what becomes of a frame's place before the next one
_OVER = 1  # a frame is blended with what is there


@dataclass(frozen=True)
class Frame:
    """One picture of an animation.

    Attributes:
        place: (rows, columns) that it covers.
        after: what becomes of the place before the next frame.
        parts: chunks of a PNG file that holds it alone.
    """

    place: tuple[slice, slice]
    after: int
    parts: list[bytes]

    @property
    def data(self) -> bytes:
        """A PNG file."""
        return b"".join([_SIGNATURE, *self.parts, _chunk(b"IEND")])


def is_animated(head: bytes) -> bool:
    """Whether a file may be a PNG animation: that must be said before the picture.

    Args:
        head: its first bytes, a few thousand.
    """
    return head.startswith(_SIGNATURE) and b"acTL" in head


def split_animation(data: bytes) -> tuple[bytes, list[Frame]]:
    """A PNG file without its animation, and the frames of this if the picture is one of them.

    Raises:
        NotCompleteError: the chunks lead out of the file; the decoder would allocate what they
            claim.
        NotSupportedError: frames are blended.
    """
    chunks = list(_chunks(data))
    if not any(kind in _ANIMATION for kind, _, _ in chunks):
        return data, []
    kind, start, end = chunks[0]
    header = data[start + 8 : end - 4]
    if kind != b"IHDR" or len(header) != _HEADER:
        raise NotCompleteError("its header is not there")
    is_clear = header[9] in _ALPHA_COLOURS or any(kind == b"tRNS" for kind, _, _ in chunks)
    still, shared, frames = [_SIGNATURE], list[bytes](), list[Frame]()
    is_frame = False  # whether the picture is one of the animation
    for kind, start, end in chunks:
        chunk, content = data[start:end], data[start + 8 : end - 4]
        if kind not in _ANIMATION:
            still.append(chunk)
        if kind == b"fcTL":
            frames.append(_read_frame(content, header, shared, is_clear and bool(frames)))
        elif kind == b"fdAT" and frames:
            frames[-1].parts.append(_chunk(b"IDAT", content[4:]))
        elif kind == b"IDAT":
            is_frame = bool(frames)
            if is_frame:
                frames[-1].parts.append(chunk)
        elif kind in (b"PLTE", b"tRNS"):
            shared.append(chunk)
    return b"".join(still), frames if is_frame else []


def compose(
    frames: list[Frame], shape: tuple[int, int], decode: Callable[[bytes], NDArray[Any]]
) -> Iterator[NDArray[Any]]:
    """What an animation shows after each of its frames.

    Args:
        frames: of which each covers a part of the picture.
        shape: (H, W) of the picture.
        decode: from a PNG file to (h, w, C).

    Yields:
        (H, W, C); the same array, changed.
    """
    canvas = None
    for frame in frames:
        pixels = decode(frame.data)
        if canvas is None:
            canvas = np.zeros((*shape, pixels.shape[2]), pixels.dtype)
        before = canvas[frame.place].copy() if frame.after == _RESTORE else None
        canvas[frame.place] = pixels
        yield canvas
        if before is not None:
            canvas[frame.place] = before
        elif frame.after == _CLEAR:
            canvas[frame.place] = 0


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk, the lengths and checksums included."""
    position, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        if position + _AROUND > len(data):
            raise NotCompleteError("it ends too early")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + length + _AROUND
        if end > len(data):
            raise NotCompleteError("it ends too early")
        yield kind, position, end
        position = end


def _read_frame(content: bytes, header: bytes, shared: list[bytes], may_blend: bool) -> Frame:
    if len(content) != _FRAME_HEADER:
        raise NotCompleteError("a frame is broken")
    whole_width, whole_height = struct.unpack_from(">2I", header)
    width, height, x, y = struct.unpack_from(">4I", content, 4)
    if not 0 < width <= whole_width - x or not 0 < height <= whole_height - y:
        raise NotCompleteError("a frame is larger than the picture")
    if content[25] == _OVER and may_blend:
        raise NotSupportedError("PNG animation of transparent frames")
    size = _chunk(b"IHDR", content[4:12] + header[8:])
    return Frame((slice(y, y + height), slice(x, x + width)), content[24], [size, *shared])


def _chunk(kind: bytes, content: bytes = b"") -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
