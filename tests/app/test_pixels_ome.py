"""OME-TIFFs whose planes lie in several files: each is read from the file that holds it."""

import struct

import numpy as np
import pytest
import tifffile

from app.files.open import ImageError
from tests.app.image_bytes import GREY, STACK
from tests.app.tiff_sets import names_of, ome, pixels, read, tiff_data, with_next, write, write_set

BOTH = np.moveaxis(STACK[:2], 0, 2)


@pytest.mark.parametrize(
    "options",
    [
        ({}, {}),
        ({"compression": "zlib"}, {"compression": "zlib"}),
        ({"compression": "zlib", "rowsperstrip": 7}, {"tile": (16, 16)}),
        ({"byteorder": ">"}, {"bigtiff": True, "compression": "lzw", "tile": (32, 16)}),
    ],
    ids=["plain", "deflated", "strips and tiles", "byte orders"],
)
@pytest.mark.parametrize("opened", [0, 1])
def test_planes_are_read_from_the_files_that_hold_them(opened, options, tmp_path):
    files = write_set(tmp_path, options=options)
    np.testing.assert_array_equal(read(files[opened]), BOTH)
    assert names_of(files[opened]) == ("stain 0", "stain 1")
    assert read(files[opened]).dtype.isnative


def test_planes_are_not_taken_for_one_piece_because_their_places_would_fit(tmp_path):
    files = write_set(tmp_path)
    with tifffile.TiffFile(files[0]) as file:
        end = file.pages.first.dataoffsets[0] + GREY.nbytes
    with tifffile.TiffFile(files[1]) as file:
        place = file.pages.first.tags[273].valueoffset
    data = bytearray(files[1].read_bytes().ljust(end, b"\0") + bytes(2 * GREY.nbytes))
    data[end : end + GREY.nbytes] = STACK[1].tobytes()
    struct.pack_into("<I", data, place, end)
    files[1].write_bytes(data)
    files[0].write_bytes(files[0].read_bytes() + bytes(2 * GREY.nbytes))
    for file in files:
        np.testing.assert_array_equal(read(file), BOTH)


def test_a_link_finds_what_is_beside_the_file(tmp_path):
    files = write_set(tmp_path)
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "linked.ome.tif"
    link.symlink_to(files[0])
    np.testing.assert_array_equal(read(link), BOTH)


@pytest.mark.parametrize("axis", ["Z", "T"])
def test_a_stack_in_several_files_is_a_stack(axis, tmp_path):
    files = write_set(tmp_path, axis, STACK[:3], [{"compression": "zlib"}] * 3)
    with pytest.raises(ImageError, match="--stack"):
        read(files[1])
    np.testing.assert_array_equal(read(files[1], "max")[:, :, 0], STACK[:3].max(0))
    np.testing.assert_array_equal(read(files[1], "2")[:, :, 0], STACK[2])


@pytest.mark.parametrize("gone", [0, 1])
def test_of_two_files_one_is_missing(gone, tmp_path, caplog):
    files = write_set(tmp_path)
    files[gone].unlink()
    np.testing.assert_array_equal(read(files[1 - gone])[:, :, 0], STACK[1 - gone])
    assert read(files[1 - gone]).shape[2] == 1
    assert any(files[gone].name in message for message in caplog.messages)
    assert names_of(files[1 - gone]) == (f"stain {1 - gone}",)


def test_another_file_that_is_cut_short_is_told_by_its_name(tmp_path):
    files = write_set(tmp_path, options=({"compression": "zlib"},) * 2)
    files[1].write_bytes(files[1].read_bytes()[:-60])
    with pytest.raises(ImageError, match=r"s_C0.*s_C1\.ome\.tif.*again"):
        read(files[0])


@pytest.mark.parametrize("harm", ["text", "loop", "folder"])
def test_another_file_that_does_harm_is_told_by_its_name(harm, tmp_path):
    files = write_set(tmp_path)
    data = files[1].read_bytes()
    files[1].unlink()
    if harm == "folder":
        files[1].mkdir()
    else:
        files[1].write_bytes(b"no pixels" * 99 if harm == "text" else with_next(data, 8))
    with pytest.raises(ImageError, match=r"s_C0\.ome\.tif: s_C1\.ome\.tif, which.*again"):
        read(files[0])


def test_files_of_several_depths_are_refused(tmp_path):
    files = write_set(tmp_path)
    with tifffile.TiffFile(files[1]) as file:
        text = file.pages.first.description
    write(files[1], STACK[1].astype(np.uint16), description=text)
    with pytest.raises(ImageError, match="several shapes or depths"):
        read(files[0])


@pytest.mark.parametrize("name", ["../other.ome.tif", "/dev/zero", "a/b.ome.tif"])
def test_files_elsewhere_are_not_looked_for(name, tmp_path, caplog):
    own = tiff_data("C", 0, 0, "own.ome.tif")
    text = ome(pixels("C2", own + tiff_data("C", 1, 1, name)), 0)
    write(tmp_path / "own.ome.tif", GREY, description=text)
    np.testing.assert_array_equal(read(tmp_path / "own.ome.tif")[:, :, 0], GREY)
    assert any(name in message for message in caplog.messages)


def test_of_several_images_in_several_files_each_file_is_its_own(tmp_path):
    """As Micro-Manager writes positions: each file describes all of them."""
    names = ["a.ome.tif", "b.ome.tif"]
    images = [pixels("C1", tiff_data("C", 0, k, name)) for k, name in enumerate(names)]
    for number, (name, codec) in enumerate(zip(names, (None, "zlib"), strict=True)):
        text = ome("".join(images), number)
        write(tmp_path / name, STACK[number], description=text, compression=codec)
    for number, name in enumerate(names):
        np.testing.assert_array_equal(read(tmp_path / name)[:, :, 0], STACK[number])


def test_a_renamed_copy_is_what_it_holds(tmp_path, caplog):
    """Its description tells of two other files that are there, and of none that it is itself."""
    files = write_set(tmp_path)
    text = ome(pixels("C2", "".join(tiff_data("C", k, k, f.name) for k, f in enumerate(files))))
    write(tmp_path / "copy.ome.tif", STACK[7], description=text, compression="zlib")
    np.testing.assert_array_equal(read(tmp_path / "copy.ome.tif")[:, :, 0], STACK[7])
    assert any("other files alone" in message for message in caplog.messages)


def test_a_part_whose_description_is_elsewhere_says_so(tmp_path, caplog):
    text = ome('<BinaryOnly MetadataFile="all.companion.ome" UUID="urn:uuid:1"/>')
    write(tmp_path / "part.ome.tif", GREY, description=text)
    np.testing.assert_array_equal(read(tmp_path / "part.ome.tif")[:, :, 0], GREY)
    assert any("all.companion.ome" in message for message in caplog.messages)
