"""CZI files: every kind of tile gives its values, and tiles are put together.

The files are made field by field; libCZI, the library of the format's maker, reads and writes the
same in tests/system/test_czi.py.
"""

import logging

import numpy as np
import pytest

from app.files.axes import to_image
from app.files.open import (
    ImageError,
    channel_names,
    claimed_size,
    open_image,
    pixel_size,
    read_image,
    resident_bytes,
)
from tests.app.czi_bytes import (
    JPEG_XR,
    PLAIN,
    SHUFFLED,
    ZSTD,
    Tile,
    czi,
    metadata,
)
from tests.app.image_bytes import DEEP, GREY, RGB, RGBA, STACK

DEEP_RGB = RGB.astype(np.uint16) * 257
VALUES = {
    "u1": GREY,
    "u2": DEEP,
    "i4": DEEP.astype(np.int32) - 1000,
    "f4": GREY.astype(np.float32) / 8,
    "f8": GREY.astype(np.float64) / 8,
    "rgb": RGB,
    "rgb16": DEEP_RGB,
    "rgb_f4": RGB.astype(np.float32) / 8,
    "rgba": RGBA,
}
LAYOUTS = [(kind, how) for kind in VALUES for how in (PLAIN, ZSTD, SHUFFLED)]
LAYOUTS += [(kind, JPEG_XR) for kind in ("u1", "u2", "f4", "rgb", "rgb16")]


def put(folder, *tiles, **more):
    path = folder / "a.czi"
    path.write_bytes(czi(*tiles, **more))
    return path


def read(path, stack="refuse"):
    with open_image(path, stack) as image:
        return image[:, :]


@pytest.mark.parametrize(("kind", "compression"), LAYOUTS)
def test_values_are_those_of_the_tile(kind, compression, tmp_path):
    expected = to_image(VALUES[kind], "YXC"[: VALUES[kind].ndim])[:, :, :3]
    path = put(tmp_path, Tile(VALUES[kind], compression=compression))
    assert claimed_size(path).pixels == GREY.size
    with open_image(path) as image:
        found = image[:, :]
        assert (image.shape, image.dtype) == (found.shape, found.dtype)
        np.testing.assert_array_equal(image[5:20, 7:9], expected[5:20, 7:9])
    assert found.dtype == expected.dtype and found.dtype.isnative
    np.testing.assert_array_equal(found, expected)


def test_channels_keep_their_names_and_order(tmp_path):
    tiles = [Tile(STACK[k], plane={"C": k}) for k in (2, 0, 1)]
    path = put(tmp_path, *tiles, xml=metadata(("DAPI", "G&#10;FP", ""), (2e-7, 3.25e-7)))
    np.testing.assert_array_equal(read(path), np.moveaxis(STACK[:3], 0, 2))
    with open_image(path) as image:
        assert channel_names(image) == ("DAPI", "GFP", "")
    assert pixel_size(path) == pytest.approx((0.2, 0.325))


@pytest.mark.parametrize(
    "xml",
    [
        b"",
        b"<broken",
        metadata(size=("x", 1e-7)),
        metadata(size=(0, 1e-7)),
        metadata(size=("inf", 1)),
    ],
)
def test_without_metadata_the_pixels_are_there(xml, tmp_path):
    path = put(tmp_path, Tile(GREY), xml=xml)
    assert pixel_size(path) is None
    with open_image(path) as image:
        assert channel_names(image) == ()
    np.testing.assert_array_equal(read_image(path), GREY)


def test_jpeg_xr_with_blue_first_is_read_as_rgb(tmp_path):
    """As ZEN writes it; imagecodecs writes red first, and the last byte of a name tells which."""
    red_first, blue_first = (bytes.fromhex(f"b1853d77768dc9{end}") for end in ("0d", "0c"))

    class BlueFirst(Tile):
        data = Tile(RGB, compression=JPEG_XR).data.replace(red_first, blue_first)

    assert blue_first in BlueFirst.data
    np.testing.assert_array_equal(read(put(tmp_path, BlueFirst(RGB, compression=JPEG_XR))), RGB)


def test_a_file_that_was_not_closed_is_read_with_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(read_image(put(tmp_path, Tile(GREY), pending=1)), GREY)
    assert "did not close it" in caplog.text


def test_segments_that_tell_only_what_was_allocated_are_read(tmp_path):
    data = bytearray(czi(Tile(GREY)))
    used = data.index(b"ZISRAWDIRECTORY") + 24
    data[used : used + 8] = bytes(8)
    (tmp_path / "a.czi").write_bytes(data)
    np.testing.assert_array_equal(read_image(tmp_path / "a.czi"), GREY)


# ------------------------------------------------------------------------------------- mosaics


def test_tiles_are_put_together_where_they_lie(tmp_path):
    """Some corners are negative, and a part is not covered."""
    whole = np.zeros((70, 90), np.uint16)
    rng = np.random.default_rng(0)
    tiles = []
    for number, (y, x, h, w) in enumerate([(0, 0, 40, 50), (0, 50, 40, 40), (40, 10, 30, 35)]):
        pixels = rng.integers(1, 60000, (h, w), dtype=np.uint16)
        whole[y : y + h, x : x + w] = pixels
        tiles.append(Tile(pixels, (y - 25, x - 1000), {"M": number}, compression=ZSTD))
    path = put(tmp_path, *tiles)
    np.testing.assert_array_equal(read(path)[:, :, 0], whole)
    with open_image(path) as image:
        for y0, x0, y1, x1 in [(0, 0, 1, 1), (69, 89, 70, 90), (39, 9, 41, 51), (40, 0, 70, 10)]:
            np.testing.assert_array_equal(image[y0:y1, x0:x1][:, :, 0], whole[y0:y1, x0:x1])


def test_of_tiles_that_overlap_the_higher_number_is_seen(tmp_path):
    low, high = np.full((20, 30), 1, np.uint8), np.full((20, 30), 2, np.uint8)
    for tiles in (
        [Tile(low, plane={"M": 3}), Tile(high, (5, 6), {"M": 10})],
        [Tile(high, (5, 6), {"M": 10}), Tile(low, plane={"M": 3})],
        [Tile(low), Tile(high, (5, 6))],  # without numbers the later one
    ):
        found = read(put(tmp_path, *tiles))[:, :, 0]
        assert (found[5:25, 6:36] == 2).all() and (found[:5, :30] == 1).all()


def test_lower_resolutions_are_left_aside(tmp_path):
    tiles = [
        Tile(GREY[::2, ::2], plane={"M": 9}, scale=2),
        Tile(GREY[:20], plane={"M": 0}),
        Tile(GREY[::8, ::8], scale=8),
        Tile(GREY[20:], (20, 0), {"M": 1}),
    ]
    np.testing.assert_array_equal(read_image(put(tmp_path, *tiles)), GREY)
    np.testing.assert_array_equal(read_image(put(tmp_path, Tile(GREY, tells_stored=False))), GREY)


def test_only_the_tiles_of_a_window_are_decoded(tmp_path):
    """One is broken, and the memory is less than that of the whole."""
    tiles = [Tile(GREY, (0, GREY.shape[1] * k), {"M": k}, ZSTD) for k in range(8)]
    data = czi(*tiles)
    last = data.rindex(tiles[-1].data)
    path = tmp_path / "a.czi"
    path.write_bytes(data[:last] + bytes(20) + data[last + 20 :])
    with open_image(path) as image:
        np.testing.assert_array_equal(image[:, : GREY.shape[1]][:, :, 0], GREY)
        assert resident_bytes(image) == 9 * GREY.size
        with pytest.raises(ImageError, match=r"a\.czi: not a complete CZI file.*again"):
            image[:, :]


def test_decoded_tiles_are_kept_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("app.files.czi._CACHE_BYTES", 3 * GREY.size)
    tiles = [Tile(GREY, (0, GREY.shape[1] * k), {"M": k}) for k in range(8)]
    with open_image(put(tmp_path, *tiles)) as image:
        for _ in range(2):
            np.testing.assert_array_equal(image[:, :][:, :, 0], np.tile(GREY, 8))
            assert len(image._tiles) == 3
        assert resident_bytes(image) == 4 * GREY.size


# -------------------------------------------------------------------------------------- stacks


def stack_tiles(times=(0, 1), depths=(0, 1, 2)):
    """Plane number 3 t + z of channel c is STACK[2 (3 t + z) + c]."""
    return [
        Tile(STACK[2 * (3 * t + z) + c], plane={"C": c, "Z": z + 4, "T": t}, compression=ZSTD)
        for c in (0, 1)
        for z in depths
        for t in times
    ]


def test_a_stack_is_read_as_it_was_asked_for(tmp_path):
    path = put(tmp_path, *stack_tiles())
    planes = np.moveaxis(STACK[:12].reshape(6, 2, *GREY.shape), 1, 3)
    np.testing.assert_array_equal(read(path, "max"), planes.max(0))
    for number in range(6):
        np.testing.assert_array_equal(read(path, str(number)), planes[number])
    with pytest.raises(ImageError, match=r"6 planes along the axes TZ.*--stack"):
        read(path)
    with pytest.raises(ImageError, match="--stack 6 was wanted, 0 to 5 are"):
        read(path, "6")


def test_what_is_nan_in_one_plane_is_that_of_the_others(tmp_path):
    nothing = np.full(GREY.shape, np.nan, np.float32)
    planes = GREY.astype(np.float32), nothing
    path = put(tmp_path, *(Tile(plane, plane={"Z": z}) for z, plane in enumerate(planes)))
    np.testing.assert_array_equal(read(path, "max")[:, :, 0], GREY)


def test_each_plane_of_a_stack(tmp_path):
    path = put(tmp_path, *stack_tiles())
    planes = np.moveaxis(STACK[:12].reshape(6, 2, *GREY.shape), 1, 3)
    assert claimed_size(path, "each").pixels == 6 * GREY.size
    with open_image(path, "each") as image:
        assert (image.grid.axes, image.grid.lengths) == ("TZ", (2, 3))
        assert image.grid.positions[4] == (1, 1)
        for plane, expected in zip(image.planes(), planes, strict=True):
            np.testing.assert_array_equal(plane[:, :], expected)
            assert len(image._tiles) == 2  # those of earlier planes are not kept
    with open_image(put(tmp_path, Tile(GREY)), "each") as image:
        (plane,) = image.planes()
        np.testing.assert_array_equal(plane[:, :][:, :, 0], GREY)


def test_a_plane_of_one_channel_that_is_not_there_is_0_and_told(tmp_path, caplog):
    path = put(tmp_path, *stack_tiles()[:-1])
    np.testing.assert_array_equal(read(path, "5")[:, :, 1], 0)
    assert "of one plane some channels are not in the file" in caplog.text
    assert read(path, "5")[:, :, 0].any()


def test_planes_that_no_channel_has_are_no_planes(tmp_path, caplog):
    tiles = [Tile(STACK[k], plane={"Z": k}) for k in (3, 7)]
    path = put(tmp_path, *tiles)
    np.testing.assert_array_equal(read(path, "1")[:, :, 0], STACK[7])
    assert not caplog.records
