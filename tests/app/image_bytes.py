"""Image files made byte by byte: what OpenCV and tifffile don't write, and tiny pictures for them.

The pictures are bright cells on a noisy background; from them come all kinds of image_kinds.py.
"""

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

Array = NDArray[Any]
HEIGHT, WIDTH = 41, 59  # no multiples of a tile


def blobs(seed: int) -> NDArray[np.uint8]:
    """(H, W) bright cells on a noisy background."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = rng.normal(40, 3, (HEIGHT, WIDTH))
    for centre_y, centre_x in rng.uniform((0, 0), (HEIGHT, WIDTH), (6, 2)):
        image += 160 * np.exp(-((y - centre_y) ** 2 + (x - centre_x) ** 2) / 40)
    return image.clip(0, 255).astype(np.uint8)


STACK = np.stack([blobs(seed) for seed in range(20)])
GREY, ALPHA = STACK[0], STACK[3]
RGB = np.ascontiguousarray(np.moveaxis(STACK[:3], 0, 2))
DEEP = GREY.astype(np.uint16) * 250 + STACK[1]
MASK = (GREY > 80).astype(np.uint8)
PALETTE = np.random.default_rng(0).permutation(256 * 3).reshape(256, 3).astype(np.uint8)
RGBA = np.ascontiguousarray(np.dstack([RGB, ALPHA]))


def three(image: Array) -> Array:
    """(H, W) to (H, W, 1)."""
    return image[:, :, None] if image.ndim == 2 else image


def packed(samples: Array, depth: int) -> Array:
    """(H, n) samples to (H, bytes), the first one in the highest bits."""
    if depth == 16:
        return np.ascontiguousarray(samples, ">u2").view(np.uint8)
    bits = np.unpackbits(samples.astype(np.uint8)[:, :, None], axis=2)[:, :, 8 - depth :]
    return np.packbits(bits.reshape(len(samples), -1), axis=1)


def png(
    image: Array, depth: int, colour: int, chunks: bytes = b"", interlaced: bool = False
) -> bytes:
    """A PNG file; ``colour`` is its colour type, ``chunks`` come before the pixels."""
    image = three(image)
    passes = [image]
    if interlaced:  # Adam7: first column and row, and the steps between them
        starts = (
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
        )
        passes = [image[y::dy, x::dx] for x, y, dx, dy in (*starts, (0, 1, 1, 2))]
    lines = b""
    for part in passes:
        rows = packed(part.reshape(len(part), part.shape[1] * part.shape[2]), depth)
        lines += np.pad(rows, ((0, 0), (1, 0))).tobytes()  # each row begins with filter 0
    size = struct.pack(">IIBBBBB", image.shape[1], image.shape[0], depth, colour, 0, 0, interlaced)
    pixels = png_chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", size) + chunks + pixels + png_chunk(b"IEND")


def png_chunk(kind: bytes, data: bytes = b"") -> bytes:
    checksum = zlib.crc32(kind + data)
    return len(data).to_bytes(4, "big") + kind + data + checksum.to_bytes(4, "big")


def png_palette(depth: int) -> bytes:
    return png_chunk(b"PLTE", PALETTE[: 2**depth].tobytes())


def bmp(image: Array, depth: int, palette: bool = False, upwards: bool = True) -> bytes:
    """A BMP file from palette indices (H, W) or blue, green, red (and alpha)."""
    height, width = image.shape[:2]
    rows = packed(image.reshape(height, -1), min(depth, 8))
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))[:: -1 if upwards else 1]
    colours = np.pad(PALETTE[: 2**depth, ::-1], ((0, 0), (0, 1))).tobytes() if palette else b""
    start = 54 + len(colours)
    info = struct.pack(
        "<IiiHHIIiiII", 40, width, height if upwards else -height, 1, depth, *[0] * 6
    )
    header = b"BM" + struct.pack("<IHHI", start + rows.size, 0, 0, start)
    return header + info + colours + rows.tobytes()


def os2_bmp(image: Array) -> bytes:
    """A BMP file with the short header of OS/2, from blue, green, red."""
    data = bmp(image, 24)
    header = struct.pack("<IHHHH", 12, image.shape[1], image.shape[0], 1, 24)
    return data[:10] + struct.pack("<I", 26) + header + data[54:]


def jpeg(image: Array, *parameters: int) -> bytes:
    image = image[:, :, ::-1] if image.ndim == 3 else image
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 97, *parameters])[1].tobytes()


def turned_jpeg() -> bytes:
    """With EXIF of the one tag 0x0112 = 6: to be shown turned by 90 degrees."""
    tag = bytes.fromhex("49492a0008000000010012010300010000000600000000000000")
    exif = b"\xff\xe1" + (len(tag) + 8).to_bytes(2, "big") + b"Exif\0\0" + tag
    data = jpeg(RGB)
    return data[:2] + exif + data[2:]


def tiff(image: Any, **options: Any) -> bytes:
    """A TIFF file by tifffile."""
    buffer = io.BytesIO()
    if isinstance(image, np.ndarray):
        options.setdefault("photometric", "minisblack")
    tifffile.imwrite(buffer, image, **options)
    return buffer.getvalue()


def tiff_with_tables() -> bytes:
    """Tiles of JPEG that share the tables of one tag, as slide scanners write them."""
    whole = np.pad(RGB, ((0, 7), (0, 5), (0, 0)), "edge")  # to (48, 64, 3)
    corners = [(y, x) for y in (0, 16, 32) for x in (0, 32)]
    tiles = [jpeg(np.ascontiguousarray(whole[y : y + 16, x : x + 32])) for y, x in corners]
    # What lies between the tables' first marker and the frame's is alike in all tiles.
    start, end = tiles[0].index(b"\xff\xdb"), tiles[0].index(b"\xff\xda")
    frame = tiles[0].index(b"\xff\xc0")
    after = tiles[0].index(b"\xff\xc4")
    tables = b"\xff\xd8" + tiles[0][start:frame] + tiles[0][after:end] + b"\xff\xd9"
    short = [b"\xff\xd8" + tile[frame:after] + tile[end:] for tile in tiles]
    layout = {"tile": (16, 32), "subsampling": (2, 2), "photometric": "rgb", "compression": "jpeg"}
    return tiff(iter(short), shape=RGB.shape, dtype=np.uint8, jpegtables=tables, **layout)


def pages(images: Any, **options: Any) -> bytes:
    """A TIFF file with pages that nothing says anything about."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for image in images:
            writer.write(image, photometric="minisblack", metadata=None, **options)
    return buffer.getvalue()


def pyramid(as_pages: bool) -> bytes:
    """Full resolution, and two levels below it in SubIFDs or in pages of their own."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for level in range(3):
            image = RGB[:: 2**level, :: 2**level]
            options: dict[str, Any] = {"subfiletype": 1} if level else {}
            if not level and not as_pages:
                options = {"subifds": 2}
            writer.write(image, photometric="rgb", tile=(16, 16), metadata=None, **options)
    return buffer.getvalue()
