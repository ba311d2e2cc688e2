"""Every kind of image file that a microscope may leave, made tiny.

A kind says exactly which values reading it must give, or that it must be refused.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import imagecodecs
import numpy as np

from tests.app.image_bytes import (
    ALPHA,
    DEEP,
    GREY,
    HEIGHT,
    MASK,
    PALETTE,
    RGB,
    RGBA,
    STACK,
    WIDTH,
    Array,
    bmp,
    jpeg,
    os2_bmp,
    pages,
    png,
    png_chunk,
    png_palette,
    pyramid,
    three,
    tiff,
    tiff_with_tables,
    turned_jpeg,
)


@dataclass(frozen=True)
class Kind:
    """One file.

    Attributes:
        name: of the file, with its suffix.
        data: its bytes.
        expected: (H, W, C) values that reading it must give; None: it must be refused.
        loss: mean absolute difference that its compression may cost.
    """

    name: str
    data: bytes
    expected: Array | None
    loss: float = 0.0


@cache
def kinds() -> list[Kind]:
    """All of them; their names differ before the suffix."""
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
        Kind("jpeg_cmyk.jpg", bytes(cmyk), None),
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
