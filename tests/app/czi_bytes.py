"""CZI files, written field by field: one segment for each tile, a directory and metadata.

What they hold is read alike by libCZI, the library of the format's maker (pylibCZIrw 6.1.0), with
which ``tests/system/test_czi.py`` compares where it is installed.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

import imagecodecs
import numpy as np

from tests.app.image_bytes import Array

PLAIN, JPEG_XR, ZSTD, SHUFFLED = 0, 4, 5, 6
PIXEL_TYPES = {("u1", 1): 0, ("u2", 1): 1, ("f4", 1): 2, ("u1", 3): 3, ("u2", 3): 4}
PIXEL_TYPES |= {("f4", 3): 8, ("u1", 4): 9, ("i4", 1): 12, ("f8", 1): 13}
MASK = bytes.fromhex("67eae3cbfc5b2b49a16aece378031448")


@dataclass
class Tile:
    """A tile; all of it can be set otherwise.

    Attributes:
        pixels: (h, w), or (h, w, 3) RGB, or (h, w, 4) with alpha.
        at: (top, left).
        plane: numbers along axes, such as {"C": 1}; M is the order of tiles that overlap.
        scale: how many pixels of the image one of the tile stands for, along each side.
        attached: what follows the pixels.
        part: of several files.
        depth: planes in the tile, if the entry is to claim more than one.
        pixel_type: a number of the format; None for that of the pixels.
        schema: of the entry.
        tells_stored: the entry tells how many pixels are stored, and not only of the image.
    """

    pixels: Array
    at: tuple[int, int] = (0, 0)
    plane: dict[str, int] = field(default_factory=dict)
    compression: int = PLAIN
    scale: int = 1
    attached: bytes = b""
    part: int = 0
    depth: int = 1
    schema: bytes = b"DV"
    tells_stored: bool = True
    pixel_type: int | None = None

    @property
    def data(self) -> bytes:
        stored = self.pixels
        if stored.ndim == 3 and self.compression != JPEG_XR:
            stored = stored[:, :, [2, 1, 0, 3][: stored.shape[2]]]
        plain = np.ascontiguousarray(stored)
        if self.compression == ZSTD:
            return bytes(imagecodecs.zstd_encode(plain.tobytes()))
        if self.compression == SHUFFLED and plain.itemsize == 2:
            halves = plain.reshape(-1).view(np.uint8).reshape(-1, 2).T
            return bytes([3, 1, 1]) + imagecodecs.zstd_encode(halves.tobytes())
        if self.compression == SHUFFLED:
            return b"\x01" + imagecodecs.zstd_encode(plain.tobytes())
        if self.compression == JPEG_XR:
            return bytes(imagecodecs.jpegxr_encode(plain, level=1.0))
        return plain.tobytes()

    def entry(self, position: int) -> bytes:
        """Of the directory; it stands before the tile, too."""
        samples = self.pixels.shape[2] if self.pixels.ndim == 3 else 1
        kind = self.pixel_type
        if kind is None:
            kind = PIXEL_TYPES[self.pixels.dtype.str[1:], samples]
        height, width = self.pixels.shape[:2]
        sizes = [
            ("X", self.at[1], width * self.scale, width * self.tells_stored),
            ("Y", self.at[0], height * self.scale, height * self.tells_stored),
            *((letter, number, self.depth, 1) for letter, number in self.plane.items()),
        ]
        head = (
            self.schema,
            kind,
            position,
            self.part,
            self.compression,
            int(self.scale > 1),
            len(sizes),
        )
        dimensions = [
            struct.pack("<4siifi", name.encode(), start, size, 0.0, stored)
            for name, start, size, stored in sizes
        ]
        return struct.pack("<2siqiiB5xi", *head) + b"".join(dimensions)


def segment(name: bytes, content: bytes) -> bytes:
    return struct.pack("<16sqq", name, len(content), len(content)) + content


def metadata(channels: tuple[str, ...] = (), size: tuple[Any, Any] | None = None) -> bytes:
    """XML with names of channels, and the (y, x) metres of a pixel."""
    names = "".join(f'<Channel Id="Channel:{k}" Name="{n}"/>' for k, n in enumerate(channels))
    sizes = zip("YX", size or (), strict=False)
    items = "".join(f'<Distance Id="{a}"><Value>{value}</Value></Distance>' for a, value in sizes)
    return (
        "<ImageDocument><Metadata><Information><Image><Dimensions><Channels>"
        f"{names}</Channels></Dimensions></Image></Information>"
        f"<Scaling><Items>{items}</Items></Scaling></Metadata></ImageDocument>"
    ).encode()


def czi(*tiles: Tile, xml: bytes = b"", part: int = 0, pending: int = 0) -> bytes:
    """A file; the tiles' own metadata are of two bytes."""
    header = struct.calcsize("<16sqq") + 512
    body, entries = b"", []
    for tile in tiles:
        entry, data = tile.entry(header + len(body)), tile.data
        start = struct.pack("<iiq", 2, len(tile.attached), len(data)) + entry
        content = start.ljust(256, b"\0") + b"ab" + data + tile.attached
        body += segment(b"ZISRAWSUBBLOCK", content)
        entries.append(entry)
    directory = struct.pack("<i", len(entries)).ljust(128, b"\0") + b"".join(entries)
    places = [header + len(body)]
    body += segment(b"ZISRAWDIRECTORY", directory)
    places.append(header + len(body))
    body += segment(b"ZISRAWMETADATA", struct.pack("<ii", len(xml), 0).ljust(256, b"\0") + xml)
    first = struct.pack("<ii8x16s16siqqi", 1, 0, b"a" * 16, b"a" * 16, part, *places, pending)
    return segment(b"ZISRAWFILE", first.ljust(512, b"\0")) + body
