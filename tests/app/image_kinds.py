"""Every kind of image file that a microscope may leave, made tiny.

A kind says exactly which values reading it must give, or that it must be refused. What OpenCV and
tifffile don't write (PNG below 8 bits, palettes) is made here byte by byte.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

Array = NDArray[Any]
HEIGHT, WIDTH = 41, 59  # no multiples of a tile


@dataclass(frozen=True)
class Kind:
    """One file.

    Attributes:
        name: of the file, with its suffix.
        data: its bytes.
        expected: (H, W, C) values that reading it must give; None: it must be refused.
        loss: mean absolute difference that its compression may cost; infinite: only the shape and
            the type are known.
    """

    name: str
    data: bytes
    expected: Array | None
    loss: float = 0.0


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


@cache
def kinds() -> list[Kind]:
    """All of them; their names differ up to the first dot."""
    return [*_png_kinds(), *_other_kinds(), *_tiff_layouts(), *_tiff_axes(), *_tiff_values()]


def _png_kinds() -> list[Kind]:
    few = {depth: GREY >> (8 - depth) for depth in (1, 2, 4)}
    grey_alpha, deep_rgba = np.dstack([GREY, ALPHA]), RGBA.astype(np.uint16) * 257
    clear = png_chunk(b"tRNS", bytes([0, 128]))
    copies = np.dstack([GREY] * 3)  # OpenCV makes colour of grey with alpha
    found = [
        Kind(f"png_grey{depth}.png", png(image, depth, 0), three(image * (255 // (2**depth - 1))))
        for depth, image in few.items()
    ]
    found += [
        Kind(f"png_palette{depth}.png", png(image, depth, 3, png_palette(depth)), PALETTE[image])
        for depth, image in {**few, 8: GREY}.items()
    ]
    palette = png_palette(8) + clear
    return [
        *found,
        Kind("png_grey8.png", png(GREY, 8, 0), three(GREY)),
        Kind("png_grey16.png", png(DEEP, 16, 0), three(DEEP)),
        Kind("png_rgb8.png", png(RGB, 8, 2), RGB),
        Kind("png_rgb16.png", png(deep_rgba[:, :, :3], 16, 2), deep_rgba[:, :, :3]),
        Kind("png_rgba8.png", png(RGBA, 8, 6), RGB),
        Kind("png_rgba16.png", png(deep_rgba, 16, 6), deep_rgba[:, :, :3]),
        Kind("png_grey_alpha8.png", png(grey_alpha, 8, 4), copies),
        Kind("png_palette_alpha.png", png(GREY, 8, 3, palette), PALETTE[GREY]),
        Kind("png_rgb_key.png", png(RGB, 8, 2, png_chunk(b"tRNS", bytes(6))), RGB),
        Kind("png_interlaced.png", png(RGB, 8, 2, interlaced=True), RGB),
        Kind("png_interlaced_palette.png", png(GREY, 8, 3, palette, True), PALETTE[GREY]),
        Kind("png_interlaced_grey1.png", png(MASK, 1, 0, interlaced=True), three(MASK * 255)),
        Kind("png_1x1.png", png(GREY[:1, :1], 8, 0), three(GREY[:1, :1])),
        Kind("png_flat.png", png(GREY[:3].repeat(40, 1), 8, 0), three(GREY[:3].repeat(40, 1))),
        Kind("png_named.tif", png(RGB, 8, 2), RGB),
    ]


def _other_kinds() -> list[Kind]:
    """JPEG and BMP."""
    cmyk = imagecodecs.jpeg8_encode(RGBA, 97, colorspace="CMYK", outcolorspace="CMYK")
    bgra, indices = RGBA[:, :, [2, 1, 0, 3]], {1: MASK, 4: GREY >> 4, 8: GREY}
    restart = jpeg(RGB, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
    return [
        Kind("jpeg_grey.jpg", jpeg(GREY), three(GREY), 1),
        Kind("jpeg_rgb.jpg", jpeg(RGB), RGB, 4),
        Kind("jpeg_progressive.jpg", jpeg(RGB, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), RGB, 4),
        Kind("jpeg_restarts.jpeg", restart, RGB, 4),
        Kind("jpeg_turned.jpg", turned_jpeg(), RGB, 4),
        Kind("jpeg_cmyk.jpg", bytes(cmyk), RGB, np.inf),
        *(
            Kind(f"bmp_palette{depth}.bmp", bmp(image, depth, palette=True), PALETTE[image])
            for depth, image in indices.items()
        ),
        Kind("bmp_24.bmp", bmp(bgra[:, :, :3], 24), RGB),
        Kind("bmp_24_downwards.bmp", bmp(bgra[:, :, :3], 24, upwards=False), RGB),
        Kind("bmp_32.bmp", bmp(bgra, 32), RGB),
        Kind("bmp_os2.bmp", os2_bmp(bgra[:, :, :3]), None),
    ]


def _tiff_layouts() -> list[Kind]:
    """Strips and tiles, compressions, byte orders: how the same pixels may lie in a file."""
    layouts: dict[str, dict[str, Any]] = {
        "strips": {"rowsperstrip": 16},
        "tiles": {"tile": (16, 32)},
    }
    exact = (None, "lzw", "zlib", "packbits", "zstd", "lzma", "png", "webp", "lerc")
    losses: dict[str | None, float] = dict.fromkeys(exact, 0)
    losses |= {"jpeg": 4, "jpeg2000": 0, "jpegxl": 0, "jpegxr": 0}  # JPEG with half the colours
    options: dict[str | None, dict[str, Any]] = {"jpeg": {"level": 97}, "webp": {"level": 101}}
    found = []
    for name, layout in layouts.items():
        for codec, loss in losses.items():
            arguments = {"photometric": "rgb", "compressionargs": options.get(codec), **layout}
            data = tiff(RGB, compression=codec, **arguments)
            found.append(Kind(f"tiff_{codec or 'plain'}_{name}.tif", data, RGB, loss))
        planar = {"photometric": "rgb", "planarconfig": "separate", **layout}
        data = tiff(np.moveaxis(RGB, 2, 0), compression="zlib", **planar)
        found.append(Kind(f"tiff_separate_{name}.tif", data, RGB))
        inks = {"level": 97, "outcolorspace": "rgb"}
        unconverted = {"photometric": "rgb", "subsampling": (1, 1), "compression": "jpeg"}
        data = tiff(RGB, compressionargs=inks, **unconverted, **layout)
        found.append(Kind(f"tiff_jpeg_rgb_{name}.tif", data, RGB, 2))
        floats = GREY.astype(np.float32) / 255
        for kind, image in ("horizontal", DEEP), ("floatingpoint", floats):
            data = tiff(image, compression="zlib", predictor=kind, **layout)
            found.append(Kind(f"tiff_{kind}_{name}.tif", data, three(image)))
        data = tiff(DEEP, compression="lzw", byteorder=">", predictor=True, **layout)
        found.append(Kind(f"tiff_bigendian_{name}.tif", data, three(DEEP)))
    holes = DEEP.copy()
    holes[:16, 32:], holes[16:32] = 0, 0
    tiles = [holes[y : y + 16, x : x + 32] for y in (0, 16, 32) for x in (0, 32)]
    sparse: dict[str, Any] = {"shape": holes.shape, "dtype": np.uint16, "tile": (16, 32)}
    data = tiff((tile if tile.any() else None for tile in tiles), **sparse, compression="zlib")
    return [
        *found,
        Kind("tiff_big.tif", tiff(DEEP, bigtiff=True), three(DEEP)),
        Kind("tiff_big_tiles.tif", tiff(DEEP, bigtiff=True, tile=(16, 16)), three(DEEP)),
        Kind("tiff_bigendian_plain.tif", tiff(DEEP, byteorder=">"), three(DEEP)),
        Kind("tiff_sparse.tif", data, three(holes)),
        Kind("tiff_turned.tif", tiff(GREY, extratags=[(274, 3, 1, 6, True)]), three(GREY)),
        Kind("tiff_pyramid_subifds.tif", pyramid(as_pages=False), RGB),
        Kind("tiff_pyramid_pages.tif", pyramid(as_pages=True), RGB),
        Kind("tiff_jpegtables.tif", tiff_with_tables(), RGB, 4),
        Kind("tiff_named.png", tiff(RGB, photometric="rgb"), RGB),
    ]


def _tiff_axes() -> list[Kind]:
    """Channels, planes and alpha."""
    three_last = np.moveaxis(STACK[:3], 0, 2)
    hyper = STACK[:6].reshape(3, 2, HEIGHT, WIDTH)
    found = []
    for count in (2, 3, 4, 5, 7):
        first = STACK[:count]
        last = np.ascontiguousarray(np.moveaxis(first, 0, 2))
        samples = tiff(last, planarconfig="contig")
        found += [
            Kind(f"tiff_{count}_first.tif", tiff(first), last),
            Kind(f"tiff_{count}_first_zlib.tif", tiff(first, compression="zlib"), last),
            Kind(f"tiff_{count}_samples.tif", samples, last),
            # A page for each row, as careless writers leave it.
            Kind(f"tiff_{count}_last.tif", tiff(last, volumetric=False, metadata=None), last),
        ]
    for kind, seen in ("assocalpha", RGB), ("unassalpha", RGB), ("unspecified", RGBA):
        data = tiff(RGBA, photometric="rgb", extrasamples=[kind])
        found.append(Kind(f"tiff_{kind}.tif", data, seen))
    grey_alpha = tiff(RGBA[:, :, :2], planarconfig="contig", extrasamples=["unassalpha"])
    named: list[tuple[str, Array, Array | None]] = [
        ("CYX", STACK[:3], three_last),
        ("ZYX", STACK[:3], None),
        ("TYX", STACK[:3], None),
        ("ZCYX", hyper, None),
    ]
    for axes, stack, expected in named:
        ome = tiff(stack, ome=True, metadata={"axes": axes})
        imagej = tiff(stack, imagej=True, metadata={"axes": axes})
        found += [
            Kind(f"ome_{axes}.ome.tif", ome, expected),
            Kind(f"imagej_{axes}.tif", imagej, expected),
        ]
    squeezed = tiff(np.zeros((1, 1, 1, HEIGHT, WIDTH), np.uint8) + GREY, ome=True)
    return [
        *found,
        Kind("tiff_grey_alpha.tif", grey_alpha, three(RGBA[:, :, 0])),
        Kind("ome_single.ome.tif", squeezed, three(GREY)),
        Kind("tiff_3_pages.tif", pages(STACK[:3]), three_last),
        Kind("tiff_20_pages.tif", pages(STACK), None),
        Kind("tiff_20_pages_zlib.tif", pages(STACK, compression="zlib"), None),
    ]


def _tiff_values() -> list[Kind]:
    """Types of values, and what they stand for."""
    types = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")
    found = []
    for name in types:
        image = GREY.astype(np.int64) - (60 if name[0] == "i" else 0)
        image = image.clip(-128, 127 if name == "i1" else 255).astype(name)
        found.append(Kind(f"tiff_{name}.tif", tiff(image), three(image)))
        found.append(Kind(f"tiff_{name}_zlib.tif", tiff(image, compression="zlib"), three(image)))
    wild = GREY.astype(np.float32)
    wild[:3, :3] = [[np.nan, np.inf, -np.inf]] * 3
    colours = PALETTE.T.astype(np.uint16) * 257
    palette = tiff(GREY, photometric="palette", colormap=colours)
    for bits, image in (1, MASK.astype(bool)), (8, GREY), (16, DEEP):
        white = 2**bits - 1 - image.astype(np.uint8 if bits == 1 else image.dtype)
        data = tiff(image, photometric="miniswhite", rowsperstrip=10, compression="zlib")
        found.append(Kind(f"tiff_miniswhite{bits}.tif", data, three(white)))
    for height, width in (1, 1), (3, 2000), (2000, 3):
        shape = np.resize(GREY, (height, width))
        found.append(Kind(f"tiff_{height}x{width}.tif", tiff(shape), three(shape)))
    few = {"bitspersample": 4, "rowsperstrip": 10}
    return [
        *found,
        Kind("tiff_1bit.tif", tiff(MASK.astype(bool)), three(MASK)),
        Kind(
            "tiff_1bit_packbits.tif", tiff(MASK.astype(bool), compression="packbits"), three(MASK)
        ),
        Kind("tiff_4bit.tif", tiff(GREY >> 4, **few), three(GREY >> 4)),
        Kind("tiff_nan.tif", tiff(wild), three(wild)),
        Kind("tiff_palette.tif", palette, PALETTE[GREY]),
        Kind("tiff_ycbcr_zlib.tif", tiff(RGB, photometric="ycbcr", compression="zlib"), None),
        Kind("tiff_cielab.tif", tiff(RGB, photometric="cielab"), None),
        Kind("tiff_cmyk.tif", tiff(RGBA, photometric="separated"), None),
        Kind("tiff_complex.tif", tiff(GREY.astype(np.complex64)), None),
    ]
