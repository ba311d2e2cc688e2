"""CZI files as libCZI, the library of the format's maker, writes and reads them.

Needs ``pip install pylibCZIrw`` (LGPL; 6.1.0 was compared), and is passed over without it.
"""

import numpy as np
import pytest

from app.files.open import channel_names, open_image, pixel_size
from tests.app.czi_bytes import JPEG_XR, PLAIN, SHUFFLED, ZSTD, Tile, czi
from tests.app.image_bytes import DEEP, GREY, RGB, STACK

libczi = pytest.importorskip("pylibCZIrw.czi")

WRITTEN = {
    "plain": "uncompressed:",
    "zstd": "zstd0:ExplicitLevel=1",
    "zstd with header": "zstd1:ExplicitLevel=1",
    "zstd shuffled": "zstd1:ExplicitLevel=1;PreProcess=HiLoByteUnpack",
}
DEEP_RGB = RGB.astype(np.uint16) * 257
PIXELS = {
    "u1": GREY,
    "u2": DEEP,
    "f4": GREY.astype(np.float32) / 8,
    "rgb": RGB,
    "rgb16": DEEP_RGB,
}


def as_written(pixels):
    """(H, W, 1), or blue, green and red."""
    return pixels[:, :, None] if pixels.ndim == 2 else pixels[:, :, ::-1]


def read(path, stack="refuse"):
    with open_image(path, stack) as image:
        return image[:, :]


@pytest.mark.parametrize("how", WRITTEN)
@pytest.mark.parametrize("kind", PIXELS)
def test_what_libczi_writes_is_read(kind, how, tmp_path):
    path = tmp_path / "a.czi"
    with libczi.create_czi(f"{path}", compression_options=WRITTEN[how]) as file:
        file.write(data=np.ascontiguousarray(as_written(PIXELS[kind])))
        file.write_metadata("a", channel_names={0: "DAPI"}, scale_x=2e-7, scale_y=3e-7)
    np.testing.assert_array_equal(read(path), as_written(PIXELS[kind])[:, :, ::-1])
    assert pixel_size(path) == pytest.approx((0.3, 0.2))
    with open_image(path) as image:
        assert channel_names(image) == (() if "rgb" in kind else ("DAPI",))


def test_stacks_and_mosaics_of_libczi_are_read(tmp_path):
    path, mosaic = tmp_path / "a.czi", tmp_path / "b.czi"
    with libczi.create_czi(f"{path}") as file:
        for number, (c, z, t) in enumerate(np.ndindex(2, 3, 2)):
            file.write(data=STACK[number][:, :, None], plane={"C": c, "Z": z, "T": t})
    planes = STACK[:12].reshape(2, 3, 2, *GREY.shape)
    for t, z in np.ndindex(2, 3):
        found = read(path, str(3 * t + z))
        np.testing.assert_array_equal(found, np.moveaxis(planes[:, z, t], 0, 2))
    with libczi.create_czi(f"{mosaic}") as file:
        for number, place in enumerate([(0, 0), (30, 0), (10, 25), (60, 50)]):
            file.write(data=STACK[number][:, :, None], location=place)
    with libczi.open_czi(f"{mosaic}") as file:
        np.testing.assert_array_equal(read(mosaic), file.read(plane={"C": 0}))


@pytest.mark.parametrize("compression", [PLAIN, JPEG_XR, ZSTD, SHUFFLED])
@pytest.mark.parametrize("kind", PIXELS)
def test_what_the_tests_make_is_read_by_libczi(kind, compression, tmp_path):
    path = tmp_path / "a.czi"

    class BlueFirst(Tile):
        """JPEG XR of the one kind of colour that libCZI reads."""

        data = Tile(PIXELS[kind], compression=compression).data.replace(
            bytes.fromhex("b1853d77768dc90d"), bytes.fromhex("b1853d77768dc90c")
        )

    tiles = [
        BlueFirst(PIXELS[kind], (5, 9 + 70 * m), {"C": 0, "M": m}, compression) for m in (0, 1)
    ]
    path.write_bytes(czi(*tiles))
    with libczi.open_czi(f"{path}") as file:
        theirs = file.read(plane={"C": 0})
    same = np.array_equal(read(path), theirs[:, :, ::-1])
    # Of these libCZI 6.1.0 reads a third, even of those that it wrote.
    assert same != (kind == "rgb16" and compression == SHUFFLED)
