"""TIFFs with descriptions and pointers that lead nowhere, and those of slides."""

import io
import logging
import struct

import numpy as np
import pytest
import tifffile

from app.files.open import ImageError
from tests.app.image_bytes import GREY, RGB, STACK, pages, pyramid, tiff
from tests.app.tiff_sets import (
    SLIDES,
    names_of,
    next_pointer,
    ome,
    pixels,
    read,
    with_last_directory_at_the_end,
    with_next,
    write,
    write_set,
)

BOTH = np.moveaxis(STACK[:2], 0, 2)


# --------------------------------------------------------------------------- stale descriptions


STALE = {
    "OME depth": ome(pixels("Z7", "<TiffData/>")),
    "OME time": ome(pixels("T70", "<TiffData/>")),
    "OME channels": ome(pixels("C3", "<TiffData/>")),
    "OME all": ome(pixels("Z2 C3 T4", "<TiffData/>")),
    "OME impossible": ome(pixels("Z2000000000", "<TiffData/>")),
    "OME nothing": ome(pixels("Z0", "<TiffData/>")),
    "ImageJ slices": "ImageJ=1.53t\nimages=7\nslices=7\n",
    "ImageJ channels": "ImageJ=1.53t\nimages=6\nchannels=3\nframes=2\nhyperstack=true\n",
    "tifffile": '{"shape": [7, 41, 59], "axes": "ZYX"}',
}


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}], ids=["plain", "zlib"])
@pytest.mark.parametrize("what", STALE)
def test_what_is_in_the_file_counts(what, options, tmp_path, caplog):
    write(tmp_path / "a.tif", GREY, description=STALE[what], **options)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), GREY[:, :, None])
    assert any("its" in m and "description" in m for m in caplog.messages), caplog.messages


def test_planes_that_are_there_keep_their_meaning(tmp_path, caplog):
    """Two channels at three depths are described, two pages of the first depth are there."""
    text = ome(pixels("C2 Z3", "".join(plain_data(c, c) for c in range(2)), ["red", "green"]))
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        for k in range(2):
            more = {"description": text} if k == 0 else {}
            writer.write(STACK[k], photometric="minisblack", metadata=None, **more)
    np.testing.assert_array_equal(read(tmp_path / "a.ome.tif"), BOTH)
    assert names_of(tmp_path / "a.ome.tif") == ("red", "green")
    assert any("6 planes, 2 are there" in message for message in caplog.messages)


def plain_data(channel: int, ifd: int) -> str:
    return f'<TiffData IFD="{ifd}" FirstC="{channel}" PlaneCount="1"/>'


@pytest.mark.parametrize("there", [1, 3, 6])
def test_a_stack_of_one_page_that_is_cut_short_is_refused(there, tmp_path):
    """ImageJ describes stacks above 4 GB in one page; what follows its pixels is the rest."""
    text = "ImageJ=1.53t\nimages=7\nslices=7\n"
    write(tmp_path / "a.tif", GREY, description=text)
    data = (tmp_path / "a.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        (start,) = file.pages.first.dataoffsets
    assert len(data) - start - GREY.nbytes < 16
    whole = data[:start] + STACK[:7].tobytes()
    (tmp_path / "a.tif").write_bytes(whole)
    np.testing.assert_array_equal(read(tmp_path / "a.tif", "max")[:, :, 0], STACK[:7].max(0))
    (tmp_path / "a.tif").write_bytes(whole[: start + int((there + 0.5) * GREY.nbytes)])
    with pytest.raises(ImageError, match="not a complete TIFF"):
        read(tmp_path / "a.tif", "max")


# ------------------------------------------------------------------------ pointers to next pages


POINTED = {
    "grey": (tiff(GREY), GREY[:, :, None]),
    "deflated": (tiff(GREY, compression="zlib"), GREY[:, :, None]),
    "colour": (tiff(RGB, photometric="rgb", metadata=None), RGB),
    "big-endian": (tiff(GREY, byteorder=">"), GREY[:, :, None]),
    "BigTIFF": (tiff(GREY, bigtiff=True, tile=(16, 16)), GREY[:, :, None]),
    "pyramid": (pyramid(as_pages=True), RGB),
    "three pages": (pages(STACK[:3]), np.moveaxis(STACK[:3], 0, 2)),
    "OME": (tiff(STACK[:3], ome=True, metadata={"axes": "CYX"}), np.moveaxis(STACK[:3], 0, 2)),
}


@pytest.mark.parametrize("where", ["far", "itself", "back", "pixels", "text"])
@pytest.mark.parametrize("name", POINTED)
def test_a_pointer_after_the_last_page_costs_nothing(name, where, tmp_path, caplog):
    data, expected = POINTED[name]
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        first, last = file.pages[0], file.pages[-1]
        middle = last.dataoffsets[0] + last.databytecounts[0] // 2
        places = {"far": 2**31 - 10, "itself": last.offset, "back": first.offset, "pixels": middle}
    places["text"] = len(data)
    path = tmp_path / "a.tif"
    path.write_bytes(with_next(data, places[where]) + b"what is no page at all" * 9)
    np.testing.assert_array_equal(read(path), expected)
    assert any("the pointer after page" in message for message in caplog.messages)


@pytest.mark.parametrize("left", [0, 1, 3])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_pointer_that_is_missing_costs_nothing(order, left, tmp_path, caplog):
    data = with_last_directory_at_the_end(tiff(GREY, byteorder=order))
    assert next_pointer(data)[0] == len(data) - 4
    path = tmp_path / "a.tif"
    path.write_bytes(data[: len(data) - 4 + left])
    np.testing.assert_array_equal(read(path)[:, :, 0], GREY)
    assert any("is missing" in message for message in caplog.messages)


@pytest.mark.parametrize("whole", [2, 3])
def test_a_stack_that_ends_within_a_page_is_refused(whole, tmp_path):
    data = pages(STACK[:4], compression="zlib")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        start = file.pages[whole].offset
    for more in (0, 40):
        path = tmp_path / "a.tif"
        path.write_bytes(data[: start + more])
        with pytest.raises(ImageError, match="not a complete TIFF"):
            read(path, "max")


def test_bits_that_are_stored_elsewhere(tmp_path):
    """As a careless writer leaves them: the tag has the place of its only value."""
    data = bytearray(tiff(GREY, metadata=None))
    place = data.index(struct.pack("<HHI", 258, 3, 1)) + 8
    data[place : place + 4] = struct.pack("<I", len(data))
    data += struct.pack("<H", 8)
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    np.testing.assert_array_equal(read(path)[:, :, 0], GREY)


# --------------------------------------------------------------------------------------- slides


@pytest.mark.parametrize("name", SLIDES)
def test_the_full_resolution_of_a_slide(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(SLIDES[name])
    expected = np.moveaxis(STACK[:5], 0, 2) if "qptiff" in name else RGB
    np.testing.assert_array_equal(read(path), expected)


@pytest.mark.parametrize("suffix", [".svs", ".scn", ".ndpi", ".qptiff", ".btf", ".lsm", ".tf8", ""])
@pytest.mark.parametrize("data", [tiff(RGB, photometric="rgb"), tiff(STACK[:2], bigtiff=True)])
def test_any_tiff_may_be_called_so(data, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    plain = tmp_path / "a.tif"
    plain.write_bytes(data)
    np.testing.assert_array_equal(read(path), read(plain))


def test_raw_camera_data_are_refused(tmp_path):
    write(tmp_path / "a.tif", GREY, photometric="cfa")
    with pytest.raises(ImageError, match="its colours are CFA; export"):
        read(tmp_path / "a.tif")


def test_nothing_is_said_of_a_sound_file(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        files = write_set(tmp_path)
        read(files[0])
        for name in ("grey", "OME", "BigTIFF", "big-endian"):
            path = tmp_path / "sound.tif"
            path.write_bytes(POINTED[name][0])
            read(path)
    assert not caplog.messages
