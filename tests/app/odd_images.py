"""Image files that are unusual: with more in them than a picture, or of rare variants of a format.

Made byte by byte or by encoders that aren't the readers'. Each is read right, or refused by name.
"""

import struct
from functools import cache

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from tests.app.image_bytes import (
    DEEP,
    GREY,
    PALETTE,
    RGB,
    RGBA,
    STACK,
    Array,
    bmp,
    jpeg,
    png,
    png_chunk,
    png_palette,
    three,
    tiff,
)
from tests.app.image_kinds import Kind

HEIGHT, WIDTH = GREY.shape
SOURCE, OVER = 0, 1  # how a frame of an animation is put down
KEEP, CLEAR, RESTORE = 0, 1, 2  # and what becomes of it
Place = tuple[int, int, int, int]  # y0, x0, y1, x1
WHOLE: Place = (0, 0, HEIGHT, WIDTH)


@cache
def odd() -> list[Kind]:
    """All of them; one that is refused has no expected values."""
    return [*_pngs(), *_jpegs(), *_bmps(), *_others()]


# ------------------------------------------------------------------------------------------ PNG


def animation(
    frames: list[tuple[Array, Place, int, int]],
    colour: int = 0,
    still: Array | None = None,
    shared: bytes = b"",
) -> bytes:
    """An animated PNG of 8 bits.

    Args:
        frames: pixels, place, how they are put down and what becomes of them.
        colour: type of PNG.
        still: the picture that is no part of the animation; None: the first frame is the picture.
        shared: chunks before the pixels.
    """
    whole = png(frames[0][0] if still is None else still, 8, colour, shared)
    start, end = whole.index(b"IDAT") - 4, whole.index(b"IEND") - 4
    size, numbers = png_chunk(b"acTL", struct.pack(">II", len(frames), 0)), iter(range(10**6))
    parts = [whole[:start], size]
    if still is not None:
        parts.append(whole[start:end])
    for number, (pixels, (y0, x0, y1, x1), put, after) in enumerate(frames):
        control = struct.pack(">5I2H2B", next(numbers), x1 - x0, y1 - y0, x0, y0, 1, 10, after, put)
        parts.append(png_chunk(b"fcTL", control))
        encoded = png(pixels, 8, colour)
        content = encoded[encoded.index(b"IDAT") + 4 : encoded.index(b"IEND") - 8]
        if number == 0 and still is None:
            parts.append(png_chunk(b"IDAT", content))
        else:
            half = len(content) // 2  # a frame may lie in several chunks
            for part in (content[:half], content[half:]):
                parts.append(png_chunk(b"fdAT", struct.pack(">I", next(numbers)) + part))
    return b"".join([*parts, whole[end:]])


def whole_frames(count: int) -> list[tuple[Array, Place, int, int]]:
    return [(STACK[k], WHOLE, SOURCE, KEEP) for k in range(count)]


def _pngs() -> list[Kind]:
    grey_key = png_chunk(b"tRNS", struct.pack(">H", int(GREY[0, 0])))
    gamma = png_chunk(b"gAMA", struct.pack(">I", 100000)) + png_chunk(b"sBIT", b"\x08\x08\x08")
    hidden = [(STACK[k] * 0, WHOLE, SOURCE, KEEP) for k in (1, 2)]
    palette = png_palette(8)
    return [
        Kind("apng_beside_still.png", animation(hidden, still=GREY), three(GREY)),
        Kind("apng_one_beside_still.png", animation(hidden[:1], still=GREY), three(GREY)),
        Kind("apng_one_frame.png", animation(whole_frames(1)), three(GREY)),
        Kind("apng_palette.png", animation(hidden, 3, GREY, palette), PALETTE[GREY]),
        Kind("apng_two_frames.png", animation(whole_frames(2)), None),
        Kind("png_grey_key8.png", png(GREY, 8, 0, grey_key), three(GREY)),
        Kind("png_gamma.png", png(RGB, 8, 2, gamma), RGB),
        Kind("png_trailing.png", png(GREY, 8, 0) + b"IDAT IEND more", three(GREY)),
        Kind("png_comment.png", png(GREY, 8, 0, png_chunk(b"tEXt", b"a\0fcTL")), three(GREY)),
    ]


# ----------------------------------------------------------------------------------------- JPEG


def _jpegs() -> list[Kind]:
    grey, colour = jpeg(GREY), jpeg(RGB)
    progressive = jpeg(RGB, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    tables = grey.index(b"\xff\xdb")
    thumbnail = b"Exif\0\0" + jpeg(RGB[:8, :8])
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    rgb = imagecodecs.jpeg8_encode(RGB, 97, colorspace="RGB", outcolorspace="RGB")
    cmyk = imagecodecs.jpeg8_encode(RGBA, 97, colorspace="CMYK", outcolorspace="CMYK")
    ycck = imagecodecs.jpeg8_encode(RGBA, 97, colorspace="CMYK", outcolorspace="YCCK")
    return [
        Kind("jpeg_trailing_scan.jpg", grey + b"\xff\xda more behind the end", three(GREY), 1),
        Kind("jpeg_trailing_jpeg.jpg", colour + grey, RGB, 4),
        Kind("jpeg_trailing_zeros.jpg", progressive + bytes(5000), RGB, 4),
        Kind("jpeg_junk.jpg", grey[:tables] + b"junk" + grey[tables:], three(GREY), 1),
        Kind("jpeg_fill_bytes.jpg", grey[:tables] + b"\xff" * 9 + grey[tables:], three(GREY), 1),
        Kind("jpeg_thumbnail.jpg", colour[:2] + segment + colour[2:], RGB, 4),
        Kind("jpeg_rgb_colours.jpg", bytes(rgb), RGB, 3),
        Kind("jpeg_cmyk_inks.jpg", bytes(cmyk), None),
        Kind("jpeg_ycck.jpg", bytes(ycck), None),
        Kind("jpeg_12bit.jpg", bytes(imagecodecs.jpeg8_encode(DEEP >> 4, 97)), None),
        Kind("jpeg_lossless.jpg", bytes(imagecodecs.ljpeg_encode(GREY)), None),
        Kind("jpeg_ls.jpg", bytes(imagecodecs.jpegls_encode(GREY)), None),
        # Only what it is is told by its header, and no more than that is looked at.
        Kind("jpeg_arithmetic.jpg", grey.replace(b"\xff\xc0", b"\xff\xc9", 1), None),
        Kind("jpeg_no_height.jpg", _with_height(grey, 0), None),
    ]


def _with_height(data: bytes, height: int) -> bytes:
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">H", height) + data[frame + 7 :]


# ------------------------------------------------------------------------------------------ BMP


def masked_bmp(
    words: Array, masks: tuple[int, ...], header: int = 40, compression: int = 3, upwards: int = 1
) -> bytes:
    """A BMP of 16 or 32 bits.

    Args:
        words: (H, W) uint16 or uint32.
        masks: bits of red, green, blue (and alpha), behind the first 40 bytes of the header.
        header: its bytes.
        compression: 0 for none, 3 and 6 for masks.
        upwards: 1 or -1.
    """
    bits = 8 * words.itemsize
    rows = np.ascontiguousarray(words[::-upwards] if upwards > 0 else words).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    behind = b"" if compression == 0 else struct.pack(f"<{len(masks)}I", *masks)
    info = struct.pack(
        "<IiiHHI", header, words.shape[1], upwards * len(words), 1, bits, compression
    )
    info += struct.pack("<IiiII", rows.size, 2835, 2835, 0, 0) + behind
    info = info.ljust(header, b"\0")
    start = 14 + len(info)
    return b"BM" + struct.pack("<IHHI", start + rows.size, 0, 0, start) + info + rows.tobytes()


def run_length_bmp(image: NDArray[np.uint8], bits: int) -> bytes:
    """A BMP of palette indices whose rows are runs, each of one pixel."""
    lines = b""
    for row in image[::-1]:
        codes = row << 4 if bits == 4 else row
        lines += b"".join(bytes([1, code]) for code in codes) + b"\0\0"
    plain = bmp(image, bits, palette=True)
    start = int.from_bytes(plain[10:14], "little")
    header = plain[:30] + struct.pack("<I", 1 if bits == 8 else 2) + plain[34:start]
    return header + lines + b"\0\1"


def scaled(image: Array, bits: int) -> Array:
    """What is left of 8-bit values in some bits, from 0 to 255 again."""
    highest = 2**bits - 1
    return np.rint((image >> (8 - bits)) * (255 / highest)).astype(np.uint8)


def _bmps() -> list[Kind]:
    red, green, blue = (RGB[:, :, c].astype(np.uint32) for c in range(3))
    alpha = np.uint32(0x80)
    of_555 = (((red >> 3) << 10) | ((green >> 3) << 5) | (blue >> 3)).astype(np.uint16)
    of_565 = (((red >> 3) << 11) | ((green >> 2) << 5) | (blue >> 3)).astype(np.uint16)
    seen_555 = np.dstack([scaled(RGB[:, :, c], 5) for c in range(3)])
    seen_565 = np.dstack([scaled(RGB[:, :, c], 5 + (c == 1)) for c in range(3)])
    usual = blue | (green << 8) | (red << 16) | (alpha << 24)
    turned = red | (green << 8) | (blue << 16) | (alpha << 24)
    late = (red << 24) | (green << 16) | (blue << 8) | alpha
    of_10 = (red << 22) | (green << 12) | (blue << 2)
    masks = (0xFF0000, 0xFF00, 0xFF)
    turned_masks, late_masks = masks[::-1], (0xFF000000, 0xFF0000, 0xFF00)
    tens = (0x3FF00000, 0xFFC00, 0x3FF)
    seen_10 = np.rint((RGB.astype(np.uint16) << 2) * (255 / 1023)).astype(np.uint8)
    masks_555 = (0x7C00, 0x3E0, 0x1F)
    of_os2 = bmp(GREY, 8, palette=True)
    return [
        Kind("bmp_555.bmp", masked_bmp(of_555, (), compression=0), seen_555),
        Kind("bmp_555_masks.bmp", masked_bmp(of_555, masks_555), seen_555),
        Kind("bmp_565.bmp", masked_bmp(of_565, (0xF800, 0x7E0, 0x1F)), seen_565),
        Kind("bmp_565_down.bmp", masked_bmp(of_565, (0xF800, 0x7E0, 0x1F), upwards=-1), seen_565),
        Kind("bmp_masks.bmp", masked_bmp(usual, masks), RGB),
        Kind("bmp_masks_turned.bmp", masked_bmp(turned, turned_masks), RGB),
        Kind("bmp_masks_late.bmp", masked_bmp(late, late_masks), RGB),
        Kind("bmp_masks_alpha.bmp", masked_bmp(late, (*late_masks, 0xFF), 56), RGB),
        Kind("bmp_masks_v4.bmp", masked_bmp(turned, (*turned_masks, 0xFF000000), 108), RGB),
        Kind("bmp_masks_v5.bmp", masked_bmp(turned, (*turned_masks, 0xFF000000), 124), RGB),
        Kind("bmp_masks_6.bmp", masked_bmp(turned, (*turned_masks, 0), 40, 6), RGB),
        Kind("bmp_masks_10.bmp", masked_bmp(of_10, tens), seen_10),
        Kind("bmp_masks_scattered.bmp", masked_bmp(of_10, (0xF0F, 0xF0F0, 0xFF0000)), None),
        Kind("bmp_v5.bmp", masked_bmp(usual, (), 124, 0), RGB),
        Kind("bmp_runs8.bmp", run_length_bmp(GREY, 8), None),
        Kind("bmp_runs4.bmp", run_length_bmp(GREY >> 4, 4), None),
        Kind("bmp_os2_2.bmp", of_os2[:14] + struct.pack("<I", 64) + of_os2[18:], None),
    ]


# --------------------------------------------------------------------------------------- others


def _others() -> list[Kind]:
    """Pictures of other formats, and files of microscopes, as far as their beginning goes."""
    head = {
        "nikon.nd2": b"\xda\xce\xbe\x0a\x10\0\0\0ND2 FILE SIGNATURE CHUNK NAME01!",
        "nikon_old.nd2": b"\0\0\0\x0cjP  \r\n\x87\n",
        "leica.lif": b"p\0\0\0\xac\x05\x01\0*\xd0\x02\x01\0<\0",
        "olympus.oib": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "olympus.oif": "[ProfileSaveInfo]".encode("utf-16"),
        "olympus.vsi": tiff(GREY),
        "threedhistech.mrxs": jpeg(RGB),
        "imaris.ims": b"\x89HDF\r\n\x1a\n",
        "patient.dcm": bytes(128) + b"DICM",
    }
    encoded = {
        "picture.jxl": imagecodecs.jpegxl_encode(GREY),
        "picture.jp2": imagecodecs.jpeg2k_encode(GREY),
        "picture.webp": imagecodecs.webp_encode(RGB),
        "picture.gif": imagecodecs.gif_encode(GREY),
        "picture.avif": imagecodecs.avif_encode(RGB),
        "picture_named.png": imagecodecs.webp_encode(RGB),
    }
    return [
        *(Kind(name, data.ljust(200, b"\0"), None) for name, data in head.items()),
        *(Kind(name, bytes(data), None) for name, data in encoded.items()),
    ]
