"""Image files that are made to do harm: lies, loops and bombs."""

import struct
import zlib
from dataclasses import dataclass

import cv2

from tests.app.image_bytes import GREY, RGB, bmp, jpeg, png, png_chunk, png_palette, tiff

NO_NEXT = bytes(4)  # that no IFD follows
Tags = dict[int, int | list[int]]


@dataclass(frozen=True)
class Hostile:
    """A file made to do harm; whether it holds an image all the same is told by ``refused``."""

    name: str
    data: bytes
    refused: bool = True


def hostile() -> list[Hostile]:
    """Lies, loops and bombs; none may take more than a moment and a little memory."""
    large_jpeg = _large_jpeg()
    no_scan = large_jpeg[: large_jpeg.index(b"\xff\xda")] + b"\xff\xd9"
    large_bmp = bmp(RGB, 24)[:18] + struct.pack("<ii", 10**5, 10**5) + bmp(RGB, 24)[26:]
    size = struct.pack(">IIBBBBB", 10**5, 10**5, 8, 2, 0, 0, 0)
    large_png = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", size)
    large_png += png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND")
    colours = png_palette(1)
    long_chunk = png(GREY, 8, 3, colours).replace(colours[:4], b"\x60\0\0\0", 1)
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**28)))
    return [
        Hostile("empty.png", b""),
        Hostile("empty.tif", b""),
        Hostile("text.png", b"these are no pixels\n" * 20),
        Hostile("text.tif", b"II*\0these are no pixels\n" * 20),
        Hostile("webp.png", cv2.imencode(".webp", RGB)[1].tobytes()),
        Hostile("large.png", large_png),
        Hostile("long_chunk.png", long_chunk),
        Hostile("text_bomb.png", png(GREY, 8, 0, text), refused=False),
        Hostile("large.jpg", large_jpeg),
        Hostile("no_scan.jpg", no_scan),
        Hostile("many_scans.jpg", _many_scans(8000, 1000), refused=False),
        Hostile("large.bmp", large_bmp),
        *_hostile_tiffs(),
    ]


def _large_jpeg() -> bytes:
    """A small JPEG that claims to be the largest."""
    data = jpeg(GREY)
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", 65500, 65500) + data[frame + 9 :]


def _many_scans(side: int, count: int) -> bytes:
    """A progressive JPEG of few bytes, of which each scan goes over the whole image."""
    data = jpeg(GREY, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    frame, scan = data.index(b"\xff\xc2"), data.index(b"\xff\xda")
    size = struct.pack(">HH", side, side)
    # Refines the first coefficient of each block by one bit; those that are missing count as 0.
    again = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x10"
    return data[: frame + 5] + size + data[frame + 9 : scan] + again * count + b"\xff\xd9"


def _hostile_tiffs() -> list[Hostile]:
    strip = zlib.compress(bytes(1000))
    huge: Tags = {256: 10**5, 257: 10**5, 258: [8] * 3, 277: 3}
    one_strip = {**huge, 259: 8, 278: 10**5, 279: len(strip)}
    tile = zlib.compress(bytes(256 * 256 * 3))
    count = 391**2
    tiles = {**huge, 259: 8, 322: 256, 323: 256, 324: [8] * count, 325: [len(tile)] * count}
    thin: Tags = {256: 2**31 - 1, 257: 2**31 - 1}
    changes: dict[str, Tags] = {
        "far_strip": {273: 10**6},
        "far_strip_zlib": {259: 8, 273: 10**6},
        "no_height": {257: 0},
        "no_bits": {258: 0},
        "many_bits": {258: 1000},
        "many_bits_rgb": {258: 255, 262: 2},
        "many_samples": {277: 65535},
        "unknown_codec": {259: 12345},
        "unknown_photometric": {262: 999},
        "thin": thin,
        "thin_zlib": {**thin, 259: 8},
        "many_strips": {**thin, 259: 8, 278: 1},
        "no_tile": {322: 0, 323: 0, 324: 8, 325: 600},
        # Several lengths where one was due: each product with them is a longer tuple.
        "lengths": {259: 8, 322: 2**19, 323: [2**15] * 255, 324: 8, 325: 600},
        "large_tile": {259: 8, 322: 2**20, 323: 2**20, 324: 8, 325: 600},
    }
    harmless: dict[str, Tags] = {
        "no_rows_a_strip": {278: 0},
        "no_samples": {277: 0},
        "long_strip": {279: 10**6},
        "subifd_loop": {330: -1},
        "subifd_loops": {330: [-1] * 500},
    }
    in_tiff = _large_jpeg()  # larger than the strip that it is said to be
    loops = {"ifd_loop": _loop(1, 0), "ifd_loop_of_two": _loop(2, 0), "late_loop": _loop(200, 150)}
    # Its pages, by their sizes, are less than none: tifffile once went through them backwards.
    height = struct.pack("<HHII", 257, 4, 1, GREY.shape[0])
    negative = tiff(GREY).replace(height, struct.pack("<HHIi", 257, 9, 1, -1))
    return [
        Hostile("one_strip.tif", raw_tiff(one_strip, strip)),
        Hostile("one_tile.tif", raw_tiff(tiles, tile)),
        Hostile("large_jpeg.tif", raw_tiff({259: 7, 279: len(in_tiff)}, in_tiff)),
        *(Hostile(f"{name}.tif", raw_tiff(tags)) for name, tags in changes.items()),
        *(Hostile(f"{name}.tif", raw_tiff(tags), refused=False) for name, tags in harmless.items()),
        *(Hostile(f"{name}.tif", data, refused=False) for name, data in loops.items()),
        Hostile("negative.tif", negative),
        Hostile("many_pages.tif", _loop(20_000, None), refused=False),
    ]


def _loop(count: int, back: int | None) -> bytes:
    """A TIFF of small directories one after the other; the last says that ``back`` follows."""
    data = raw_tiff({})
    size = 2 + 12 + 4
    starts = [len(data) + size * k for k in range(count)]
    following = [*starts[1:], 0 if back is None else starts[back]]
    pages = (struct.pack("<HHHIII", 1, 256, 4, 1, 30, start) for start in following)
    return data[: -len(NO_NEXT)] + struct.pack("<I", starts[0]) + b"".join(pages)


def raw_tiff(tags: Tags, data: bytes = b"") -> bytes:
    """A little-endian TIFF, byte by byte: ``data`` is at 8, then the one IFD of ``tags``.

    Args:
        tags: beside those of a grey image of 20 x 30; every value a 32-bit number,
            -1 the place of the IFD.
        data: strips or tiles.
    """
    data = data or bytes(600)
    plain: Tags = {256: 30, 257: 20, 258: 8, 259: 1, 262: 1, 273: 8}
    tags = plain | {277: 1, 278: 20, 279: len(data)} | tags
    start = 8 + len(data)
    entries, values = b"", b""
    for tag, value in sorted(tags.items()):
        numbers = value if isinstance(value, list) else [value]
        content = struct.pack(f"<{len(numbers)}I", *(start if n == -1 else n for n in numbers))
        place = start + 2 + 12 * len(tags) + 4 + len(values)
        entries += struct.pack("<HHI", tag, 4, len(numbers))
        entries += content if len(numbers) == 1 else struct.pack("<I", place)
        values += content if len(numbers) > 1 else b""
    header = b"II*\0" + struct.pack("<I", start) + data + struct.pack("<H", len(tags))
    return header + entries + NO_NEXT + values
