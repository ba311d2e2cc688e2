"""Other libraries read the same pixels: tifffile, OpenCV, imagecodecs and Pillow, of every kind.

Where one of them reads something else, the reason stands here, and it must still do so.
"""

import io
import warnings
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from app.files.open import open_image
from tests.app.image_bytes import Array
from tests.app.image_kinds import Kind, kinds
from tests.app.odd_images import odd

KINDS = [kind for kind in (*kinds(), *odd()) if kind.expected is not None]
ROUNDING = 1  # of a level of 5 or 6 bits, which some libraries cut off


def by_pillow(data: bytes) -> Array:
    image = Image.open(io.BytesIO(data))
    colours = {"P": "RGB", "1": "L", "LA": "L", "RGBA": "RGB"}
    is_palette = image.mode == "P" and image.getpalette() is not None
    if is_palette or image.mode in ("1", "LA"):
        image = image.convert(colours[image.mode])  # type: ignore[assignment]
    return np.asarray(image)


def by_opencv(data: bytes) -> Array:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError("not read")
    return image if image.ndim == 2 else image[:, :, [2, 1, 0, 3][: image.shape[2]]]


def by_imagecodecs(data: bytes) -> Array:
    if data[:2] == b"BM":
        return imagecodecs.bmp_decode(data)
    if data[:2] == b"\xff\xd8":
        return imagecodecs.jpeg8_decode(data)
    if data[:4] == b"\x89PNG":
        return imagecodecs.png_decode(data)
    raise ValueError("no decoder")


def by_tifffile(data: bytes) -> Array:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        series = file.series[0]
        image = series.asarray()
    # Channels last, as we have them.
    is_first = image.ndim == 3 and image.shape[0] < image.shape[2]
    return np.moveaxis(image, 0, -1) if is_first and series.axes[2] == "X" else image


READERS = {
    "Pillow": by_pillow,
    "OpenCV": by_opencv,
    "imagecodecs": by_imagecodecs,
    "tifffile": by_tifffile,
}

# What a library makes of a kind on purpose, or doesn't know: (library, beginning of the names).
FIRST_PAGE = ("_first", "_last", "_3_pages", "_CYX")
OTHERWISE = {
    ("Pillow", "png_rgb16"): "8 bits",
    ("Pillow", "png_rgba16"): "8 bits",
    ("Pillow", "tiff_turned"): "applies the orientation",
    ("OpenCV", "tiff_turned"): "applies the orientation",
    ("OpenCV", "apng_beside"): "the animation's first frame",
    ("OpenCV", "apng_palette"): "the animation's first frame",
    ("OpenCV", "bmp_masks_turned"): "blue, green and red, whatever the masks",
    ("OpenCV", "bmp_masks_late"): "blue, green and red, whatever the masks",
    ("OpenCV", "bmp_masks_10"): "of 8 bits each",
    ("imagecodecs", "bmp_masks_10"): "of 8 bits each",
    ("OpenCV", "bmp_5"): "cuts off bits",
    ("OpenCV", "tiff_png_"): "an empty image",
    ("OpenCV", "tiff_jpeg2000"): "an empty image",
    ("OpenCV", "tiff_jpegx"): "an empty image",
    ("OpenCV", "tiff_3_samples"): "three grey samples are blue, green, red",
    ("OpenCV", "tiff_unassalpha"): "multiplies by alpha",
    ("Pillow", "tiff_assocalpha"): "divides by alpha",
    ("Pillow", "tiff_unspecified"): "drops the fourth sample",
    ("Pillow", "tiff_i1"): "unsigned",
    ("Pillow", "tiff_miniswhite16"): "not inverted",
    ("OpenCV", "tiff_miniswhite16"): "not inverted",
    ("tifffile", "tiff_miniswhite"): "not inverted",
    ("OpenCV", "tiff_miniswhite1"): "bits are 0 and 255",
    ("OpenCV", "tiff_1bit"): "bits are 0 and 255",
    ("Pillow", "tiff_1bit"): "bits are 0 and 255",
    ("Pillow", "tiff_miniswhite1.tif"): "bits are 0 and 255",
    ("Pillow", "tiff_4bit"): "of 8 bits",
    ("tifffile", "tiff_palette"): "indices",
}


def reads_otherwise(reader: str, kind: Kind) -> bool:
    if reader in ("Pillow", "OpenCV") and kind.name.startswith(("tiff", "ome", "imagej")):
        assert kind.expected is not None
        if any(word in kind.name for word in FIRST_PAGE) or kind.expected.shape[2] == 2:
            return True  # grey, or a row of it
        if reader == "OpenCV" and kind.expected.shape[2] > 3 and "unspecified" not in kind.name:
            return True
    return any(reader == who and kind.name.startswith(what) for who, what in OTHERWISE)


def as_ours(image: Array, expected: Array) -> Array:
    """(H, W, C) without what we drop: alpha, and colours that only repeat a grey."""
    image = image[:, :, None] if image.ndim == 2 else image
    channels = expected.shape[2]
    if image.shape[2] == channels + 1:
        image = image[:, :, :channels]
    if image.shape[2] in (1, 2) and channels == 3 and (expected == expected[:, :, :1]).all():
        image = np.repeat(image[:, :, :1], 3, 2)
    return image


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_other_libraries_see_the_same_pixels(kind, tmp_path):
    path = Path(tmp_path / kind.name)
    path.write_bytes(kind.data)
    with open_image(path) as image:
        ours = image[:, :].astype(np.float64)
    for name, read in READERS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = as_ours(read(kind.data), kind.expected)
            except Exception:  # it can't read the kind: then it has no say
                continue
        same = found.shape == ours.shape
        if same:
            tolerance = ROUNDING if kind.name.startswith("bmp_5") else 0
            with np.errstate(invalid="ignore"):
                differ = np.abs(found.astype(np.float64) - ours) > tolerance
            same = not differ.any()
        assert same != reads_otherwise(name, kind), f"{name}: {found.shape} {found.dtype}"


@pytest.mark.parametrize("reader", READERS)
def test_each_library_has_a_say(reader):
    """So that the comparison is not empty because all errors were passed over."""
    count = 0
    for kind in KINDS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                READERS[reader](kind.data)
            except Exception:
                continue
        count += not reads_otherwise(reader, kind)
    assert count >= 30
