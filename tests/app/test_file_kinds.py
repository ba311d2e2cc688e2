"""Which files of a folder are images, what is passed over and why, and what outputs are called."""

import os
from pathlib import Path

import pytest

from app.files.folder import describe_passed, find_images, list_folder
from app.files.kinds import READ, identify, stem
from app.files.labels import output_path
from app.files.open import ImageError, open_image
from tests.app.czi_bytes import Tile, czi
from tests.app.image_bytes import GREY, RGB, STACK, bmp, jpeg, png, tiff
from tests.app.odd_images import odd
from tests.app.tiff_sets import SLIDES, ome, pixels, tiff_data, write, write_set

OTHERS = [
    k for k in odd() if "." in k.name and not k.name.startswith(("png", "apng", "jpeg", "bmp"))
]
CONTENTS = {
    "PNG": png(GREY, 8, 0),
    "JPEG": jpeg(RGB),
    "BMP": bmp(GREY, 8, palette=True),
    "TIFF": tiff(GREY),
    "TIFF MM": tiff(GREY, byteorder=">"),
    "BigTIFF": tiff(GREY, bigtiff=True),
    "CZI": czi(Tile(GREY)),
}


def fill(folder, files):
    for name, data in files.items():
        (folder / name).write_bytes(data)


def names(paths):
    return [path.name for path in paths]


@pytest.mark.parametrize("name", ["scan", "scan.dat", "scan.0001", "scan.SVS", "scan.btf", "a.b.c"])
@pytest.mark.parametrize("content", CONTENTS)
def test_images_are_told_by_their_content(content, name, tmp_path):
    fill(tmp_path, {name: CONTENTS[content], "notes.txt": b"II is no TIFF, nor is BM a BMP"})
    listing = list_folder(tmp_path)
    assert names(listing.images) == [name]
    assert [(p.path.name, p.reason) for p in listing.passed] == [("notes.txt", "no image")]
    with open_image(tmp_path / name) as image:
        assert image.shape[:2] == GREY.shape


def test_slides_are_images(tmp_path):
    fill(tmp_path, SLIDES)
    assert names(find_images(tmp_path)) == sorted(SLIDES)


def test_what_is_named_as_an_image_is_one_if_perhaps_a_broken_one(tmp_path):
    files = {"a.png": b"", "b.TIF": b"x", "c.jpeg": b"text", "d.bmp": b"BMI, age", "e.czi": b""}
    fill(tmp_path, files)
    assert names(find_images(tmp_path)) == [*files]


@pytest.mark.parametrize("kind", OTHERS, ids=lambda kind: kind.name)
def test_other_formats_are_named_with_what_to_do(kind, tmp_path):
    if kind.name != "picture_named.png":
        fill(tmp_path, {kind.name: kind.data, "a.png": CONTENTS["PNG"]})
        listing = list_folder(tmp_path)
        assert names(listing.images) == ["a.png"]
        (line,) = describe_passed(listing)
        assert " is not supported: " in line and kind.name in line and "export as " in line
        assert ("Fiji" in line) == (not kind.name.startswith(("picture", "patient")))
    path = tmp_path / kind.name
    path.write_bytes(kind.data)
    with pytest.raises(ImageError, match=f"{kind.name}: .* is not supported; .*export as"):
        open_image(path)


@pytest.mark.parametrize(
    ("suffix", "name"),
    [
        *((f".{name.lower()}", name) for name in ("ND2", "LIF", "OIB", "OIF", "VSI")),
        *((f".{name}", name) for name in ("MRXS", "ZVI", "DV")),
    ],
)
def test_an_empty_file_of_a_microscope_is_known_by_its_suffix(suffix, name, tmp_path):
    fill(tmp_path, {f"a{suffix}": b""})
    assert [item.reason for item in list_folder(tmp_path).passed] == [name]


def test_everything_is_either_an_image_or_passed_over(tmp_path):
    fill(tmp_path, {"a.png": CONTENTS["PNG"], "b.csv": b"1,2", ".hidden.png": CONTENTS["PNG"]})
    (tmp_path / "inner").mkdir()
    (tmp_path / "named.png").mkdir()
    (tmp_path / "slide.zarr").mkdir()
    (tmp_path / "slide.zarr" / ".zattrs").write_text("{}")
    (tmp_path / "dead.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    listing = list_folder(tmp_path)
    assert names(listing.images) == ["a.png", "link.png"]
    assert {item.path.name: item.reason for item in listing.passed} == {
        "b.csv": "no image",
        "inner": "a folder",
        "named.png": "a folder",
        "slide.zarr": "OME-Zarr",
        "dead.png": "a dead link",
        "loop.png": "a dead link",
        "pipe.png": "no file",
    }
    text = "\n".join(describe_passed(listing))
    assert all(item.path.name in text for item in listing.passed)
    assert "OME-Zarr is not supported: slide.zarr; convert to OME-TIFF with raw2ometiff" in text


def test_a_folder_that_is_an_ome_zarr_itself(tmp_path):
    (tmp_path / "zarr.json").write_text("{}")
    listing = list_folder(tmp_path)
    assert not listing.images
    assert f"OME-Zarr is not supported: {tmp_path.name};" in describe_passed(listing)[0]


def test_many_files_are_counted_and_a_few_named(tmp_path):
    fill(tmp_path, {f"{k}.csv": b"" for k in range(9)} | {"y.lif": b""})
    lines = describe_passed(list_folder(tmp_path))
    assert lines[0] == "9 files are no image: 0.csv, 1.csv, 2.csv, 3.csv, 4.csv and 4 more"
    assert lines[1].startswith("LIF is not supported: y.lif; convert to OME-TIFF with bfconvert")


def test_a_file_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    fill(tmp_path, {"secret": CONTENTS["PNG"]})
    real = type(tmp_path).open

    def refuse(path, *arguments, **options):
        if path.name == "secret":
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(type(tmp_path), "open", refuse)
    assert list_folder(tmp_path).unreadable == {tmp_path / "secret": "Permission denied"}


# -------------------------------------------------------------------- images of several files


def test_an_image_of_several_files_is_listed_once(tmp_path):
    write_set(tmp_path, planes=STACK[:3], options=({},) * 3)
    fill(tmp_path, {"a.tif": CONTENTS["TIFF"], "z.tif": CONTENTS["TIFF"]})
    listing = list_folder(tmp_path)
    assert names(listing.images) == ["a.tif", "s_C0.ome.tif", "z.tif"]
    assert [(p.path.name, p.part_of) for p in listing.passed] == [
        ("s_C1.ome.tif", "s_C0.ome.tif"),
        ("s_C2.ome.tif", "s_C0.ome.tif"),
    ]
    (line,) = describe_passed(listing)
    assert line.startswith("2 files are parts of an image that begins in another file: s_C1.ome")


def test_without_the_first_file_the_next_one_stands_for_the_image(tmp_path):
    files = write_set(tmp_path, planes=STACK[:3], options=({},) * 3)
    files[0].unlink()
    assert names(find_images(tmp_path)) == ["s_C1.ome.tif"]


def test_images_that_only_describe_one_another_are_all_listed(tmp_path):
    both = ["a.ome.tif", "b.ome.tif"]
    images = [pixels("C1", tiff_data("C", 0, k, name)) for k, name in enumerate(both)]
    for number, name in enumerate(both):
        write(tmp_path / name, STACK[number], description=ome("".join(images), number))
    assert names(find_images(tmp_path)) == both


def test_a_part_is_passed_over_where_its_image_is_described(tmp_path):
    """Its own description only says where that is; and it comes first by its name."""
    (first, second) = write_set(tmp_path, axis="Z")
    master = tmp_path / "z.ome.tif"
    text = ome(
        pixels("Z2", tiff_data("Z", 0, 0, master.name) + tiff_data("Z", 1, 1, second.name)), 0
    )
    write(master, STACK[0], description=text)
    first.unlink()
    only = ome(f'<BinaryOnly MetadataFile="{master.name}" UUID="urn:uuid:0"/>', 1)
    write(second, STACK[1], description=only)
    assert names(find_images(tmp_path)) == [master.name]
    master.unlink()
    assert names(find_images(tmp_path)) == [second.name]


def test_a_file_that_describes_others_but_not_itself_decides_nothing(tmp_path):
    data = "".join(tiff_data("C", k, k, f"{k}.ome.tif") for k in range(2))
    write(tmp_path / "copy.ome.tif", GREY, description=ome(pixels("C2", data), 7))
    fill(tmp_path, {"0.ome.tif": CONTENTS["TIFF"], "1.ome.tif": CONTENTS["TIFF"]})
    assert names(find_images(tmp_path)) == ["0.ome.tif", "1.ome.tif", "copy.ome.tif"]


def test_a_large_folder_is_listed_without_opening_what_has_a_suffix(tmp_path, monkeypatch):
    """And what has none once, so that a hundred thousand files take seconds."""
    for k in range(100):
        (tmp_path / f"{k}.png").touch()
        (tmp_path / f"{k}").write_bytes(CONTENTS["PNG"])
    opened, real = [], Path.open

    def counted(path, *arguments, **more):
        opened.append(path.name)
        return real(path, *arguments, **more)

    monkeypatch.setattr(Path, "open", counted)
    assert len(find_images(tmp_path)) == 200
    assert sorted(opened) == sorted(str(k) for k in range(100))


# ------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "a"),
        ("drug_0.1uM.png", "drug_0.1uM"),
        ("2023.05.01_plateA_well1.png", "2023.05.01_plateA_well1"),
        ("two.of.many.TIF", "two.of.many"),
        ("a.ome.tif", "a"),
        ("a.OME.TIFF", "a"),
        ("a.b.ome.btf", "a.b"),
        ("slide.svs", "slide"),
        ("slide.0.CZI", "slide.0"),
        ("a.ome.czi", "a.ome"),
        ("slide.1.qptiff", "slide.1"),
        ("a.ome.png", "a.ome"),
        ("a.ome", "a.ome"),
        ("plate_0.5uM", "plate_0.5uM"),
        ("scan.dat", "scan.dat"),
        ("ome.tif", "ome"),
        (".ome.tif", ".ome"),
        (".png", ".png"),
        ("a.tif.png", "a.tif"),
        ("a.jpeg", "a"),
        ("a.bmp", "a"),
    ],
)
def test_a_name_is_all_but_the_known_suffix(name, expected, tmp_path):
    assert stem(name) == expected
    assert output_path(tmp_path / name, tmp_path).name == f"{expected}_label.tiff"


def test_a_few_bytes_are_never_an_error():
    for content in CONTENTS.values():
        for length in range(20):
            assert identify(content[:length], ".x") in ("", *READ)
