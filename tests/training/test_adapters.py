"""Each publisher's format in tiny files, converted and read back as training reads it."""

import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from tests.training.publisher_files import (
    LEFT,
    LEFT_POLYGON,
    LIKE,
    RIGHT,
    RIGHT_POLYGON,
    convert,
    folders,
    label,
    livecell,
    neurips,
    rows,
    sartorius,
)
from training.data import load_labelled


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("as_dict", [True, False])
def test_livecell(tmp_path, tiny_config, flat, as_dict):
    wells = {"A172_A7": [[LEFT_POLYGON], [RIGHT_POLYGON]], "SkBr3_H12": [[RIGHT_POLYGON]]}
    source, root = livecell(tmp_path / "source", wells, flat, as_dict), tmp_path / "root"
    livecell(source, {"A172_B7": [[LEFT_POLYGON]]}, flat, as_dict, part="test")
    assert convert("livecell", source, root, "--seed", 3) == 0
    first, second = "A172_Phase_A7_1_00d00h00m_1", "SkBr3_Phase_H12_1_00d00h00m_2"
    np.testing.assert_array_equal(label(root, first), LEFT + 2 * RIGHT)
    np.testing.assert_array_equal(label(root, second), RIGHT)
    table = rows(root)
    assert sorted(table) == [first, second]  # not those of the test set
    assert {row.pop("split") for row in table.values()} == {"train", "val"}
    assert list(table[second].values()) == [
        *(second, f"{second}.tif", "livecell", "PC", "SkBr3_H12"),
        *("40", "60", "1", "uint8", "1", "CC BY-NC 4.0"),
    ]
    everything = tmp_path / "everything"
    assert convert("livecell", source, everything, "--parts", "train", "val", "test") == 0
    assert sorted(rows(everything)) == [first, "A172_Phase_B7_1_00d00h00m_1", second]
    for split in ("train", "val"):
        (image,) = load_labelled(root, split, tiny_config.method)
        assert len(image.ids) == int(table[image.name]["instances"])


def test_livecell_as_it_is_downloaded(tmp_path):
    source = livecell(tmp_path / "source", {"A172_A7": [[LEFT_POLYGON]]}, flat=True)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in sorted(source.rglob("*.tif")):
            archive.write(path, path.relative_to(source))
            archive.writestr(f"__MACOSX/._{path.name}", b"junk")
    (table,) = source.rglob("*.json")
    root = tmp_path / "root"
    assert convert("livecell", tmp_path / "images.zip", table, root) == 0
    assert sorted(path.name for path in root.iterdir()) == [
        *("Train_Labeled", "Train_Unlabeled", "metadata.csv")
    ]


def test_livecell_images_that_are_known_to_be_incomplete(tmp_path, capsys):
    wells = {"A172_A7": [[LEFT_POLYGON]], "A172_B7": []}
    source = livecell(tmp_path / "source", wells)
    (table,) = source.rglob("*.json")
    name = "A172_Phase_A7_1_01d04h00m_3.tif"
    table.write_text(table.read_text().replace("A172_Phase_A7_1_00d00h00m_1.tif", name))
    assert convert("livecell", source, tmp_path / "root") == 0
    printed = capsys.readouterr().out
    assert f"{name}: left out, most of its cells have no outline" in printed
    assert "A172_Phase_B7_1_00d00h00m_2: empty: no cell" in printed
    assert list(rows(tmp_path / "root")) == ["A172_Phase_B7_1_00d00h00m_2"]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('{"images"', '[{"images"', "not a COCO file"),
        ('"images"', '"pictures"', "not a COCO file (KeyError('images'))"),
        ("4.0, 6.0, 14.0", "4.0, 14.0", "annotation 1, ValueError('polygon of shape (7,)"),
        ('"segmentation"', '"mask"', "annotation 1, KeyError('segmentation')"),
        ("A172_Phase_A7_1", "image", "wanted CELLTYPE_Phase_WELL_POSITION_TIME_CROP"),
        ("A7_1_00d00h", "A7_1_02d00h", "A172_Phase_A7_1_02d00h00m_1.tif: can't be opened"),
        ('"height": 40', '"height": 60', "label of 60 x 60, but its image is 40 x 60"),
    ],
)
def test_livecell_with_broken_files(tmp_path, capsys, old, new, found):
    source = livecell(tmp_path / "source", {"A172_A7": [[LEFT_POLYGON]]})
    (table,) = source.rglob("*.json")
    assert old in table.read_text()
    table.write_text(table.read_text().replace(old, new, 1))
    assert convert("livecell", source, tmp_path / "root") == 1
    assert found in capsys.readouterr().err and not rows(tmp_path / "root")


def test_sartorius(tmp_path, tiny_config):
    source, root = sartorius(tmp_path / "source"), tmp_path / "root"
    assert (source / "train.csv").read_text().splitlines()[1].split(",")[1].startswith("365 10 425")
    assert convert("sartorius", source, root) == 0
    np.testing.assert_array_equal(label(root, "0030fd0e6370"), LEFT)
    np.testing.assert_array_equal(label(root, "0030fd0e6371"), LEFT + 2 * RIGHT)
    crop, other_crop, other = rows(root).values()
    assert crop["group"] == other_crop["group"] == "shsy5y[diff]_E10-4_Vessel-361_Ph"
    assert crop["split"] == other_crop["split"] != other["split"]
    assert [path.name for path in (root / "Train_Unlabeled" / "images").iterdir()] == [
        "00d7ed3a7b2b.png"
    ]
    assert len(load_labelled(root, crop["split"], tiny_config.method)) == 2


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("365 10", "0 10", "line 2, annotation leaves the image of 40 x 60"),
        ("365 10", "365 2400", "line 2, annotation leaves the image"),
        ("365 10", "365 10 1", "line 2, annotation has 21 numbers; wanted pairs"),
        ("365 10", "365 ten", "line 2, invalid literal"),
        (",60,40,", ",40,60,", "label of 60 x 40, but its image is 40 x 60"),
        (",0 days 11:30:00\n", "\n", "line 2, the row ends too early"),
        ("annotation,", "masks,", "wanted ['annotation', 'height', 'id', 'sample_id', 'width']"),
    ],
)
def test_a_broken_row_costs_its_image(tmp_path, capsys, old, new, found):
    source, root = sartorius(tmp_path / "source"), tmp_path / "root"
    table = source / "train.csv"
    table.write_text(table.read_text().replace(old, new, 1))
    assert convert("sartorius", source, root) == 1
    errors = capsys.readouterr().err
    assert found in errors and str(table) in errors
    done = [] if "masks" in new else ["0030fd0e6371", "0030fd0e6372"]
    assert list(rows(root)) == done
    shutil.rmtree(source)  # the next download is whole: what is missing is added
    assert convert("sartorius", sartorius(source), root) == 0
    assert list(rows(root))[: len(done)] == done and len(rows(root)) == 3


@pytest.mark.parametrize(
    ("labelled", "unlabelled"),
    [
        ("Training-labeled", "train-unlabeled-part1"),
        ("Training-labeled", "release-part1"),
        ("Train_Labeled", "Train_Unlabeled/release-part1"),
        ("Train_Labeled", "Train_Unlabeled/images"),
    ],
)
def test_neurips(tmp_path, tiny_config, labelled, unlabelled):
    source, root = neurips(tmp_path / "source", labelled, unlabelled), tmp_path / "root"
    given_table = tmp_path / "table.csv"
    given_table.write_text("name,modality,group\ncell_00001,DIC,film\ncell_00002,,film\n")
    assert convert("neurips", source, root, "--table", given_table) == 0
    table = rows(root)
    assert [row["modality"] for row in table.values()] == ["DIC", *["unknown"] * 4]
    assert [row["group"] for row in table.values()] == ["film", "film", *list(table)[2:]]
    assert [row["channels"] for row in table.values()] == ["3", "1", "3", "1", "3"]
    for name, row in table.items():
        np.testing.assert_array_equal(label(root, name), LEFT + 2 * RIGHT)
        image = Path("images") / row["image"]
        original, copy = source / labelled / image, root / "Train_Labeled" / image
        assert copy.read_bytes() == original.read_bytes()
    assert (root / "Train_Unlabeled" / "images" / "unlabeled_cell_00000.png").exists()
    assert len(load_labelled(root, "val", tiny_config.method)) == 1


def test_neurips_with_broken_files(tmp_path, capsys):
    source, root = (
        neurips(tmp_path / "source", "Train_Labeled", "Train_Unlabeled"),
        tmp_path / "root",
    )
    folder = source / "Train_Labeled"
    whole = (folder / "images" / "cell_00001.bmp").read_bytes()
    (folder / "images" / "cell_00001.bmp").write_bytes(whole[:500])
    (folder / "labels" / "cell_00002_label.tiff").unlink()
    tifffile.imwrite(folder / "labels" / "cell_00003_label.tiff", LEFT[:, 1:])
    tifffile.imwrite(folder / "labels" / "cell_00004_label.tiff", LEFT / np.float32(2))
    (source / "Train_Unlabeled" / "unlabeled_cell_00000.png").write_bytes(whole[:500])
    assert convert("neurips", source, root) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 5 and list(rows(root)) == ["cell_00005"]
    for found, wanted in zip(
        errors,
        (
            "cell_00001.bmp: not a complete",
            "cell_00002_label.tiff: can't be opened",
            "cell_00003_label.tiff: label of 40 x 59, but its image is 40 x 60",
            "cell_00004.tiff: its label has the value 0.5",
            "unlabeled_cell_00000.png: not a complete",
        ),
        strict=True,
    ):
        assert wanted in found


@pytest.mark.parametrize("ending", ["", "_label", "_mask", "_labels", "_masks"])
def test_folders(tmp_path, tiny_config, ending):
    names = ["slide1_a", "slide1_b", "slide2_a", "slide2.b"]
    pair, root = folders(tmp_path / "source", names, ending), tmp_path / "root"
    assert convert("folders", *pair, root, *LIKE, "--group-pattern", r"^(slide\d)[_.]") == 0
    table = rows(root)
    assert list(table) == [f"mine-{name}".replace(".", "_") for name in sorted(names)]
    assert {row["group"] for row in table.values()} == {"slide1", "slide2"}
    assert {(row["licence"], row["modality"]) for row in table.values()} == {("CC0, ours", "BF")}
    for name in table:
        np.testing.assert_array_equal(label(root, name), 2 * LEFT + RIGHT)
    assert len(load_labelled(root, "train", tiny_config.method)) == 2


def test_one_image_under_two_names(tmp_path, capsys):
    images, labels = folders(tmp_path / "source", ["a", "b", "c"])
    for copy in "bc":
        shutil.copyfile(images / "a.png", images / f"{copy}.png")
    assert cv2.imwrite(str(labels / "c.png"), LEFT)  # that of another image
    root = tmp_path / "root"
    assert convert("folders", images, labels, root, *LIKE) == 1
    assert list(rows(root)) == ["mine-a"]
    out, errors = capsys.readouterr()
    assert "mine-b: left out, the same file as that of mine-a" in out
    assert "c.png: is the same file as that of mine-a, but has another label" in errors
    assert convert("folders", images, labels, root, *LIKE) == 1  # and once more
    assert list(rows(root)) == ["mine-a"]


@pytest.mark.parametrize(("suffix", "dtype"), [("png", "u1"), ("tif", "u1"), ("tiff", "f4")])
def test_kinds_of_label_images(tmp_path, suffix, dtype):
    images, labels = folders(tmp_path / "source", ["one"])
    (labels / "one.png").unlink()
    values = (LEFT + RIGHT * 7).astype(dtype)
    write = cv2.imwrite if suffix == "png" else tifffile.imwrite
    write(str(labels / f"one.{suffix}"), values)
    assert convert("folders", images, labels, tmp_path / "root", *LIKE) == 0
    np.testing.assert_array_equal(label(tmp_path / "root", "mine-one"), LEFT + RIGHT * 2)


def test_what_has_no_counterpart_is_named(tmp_path, capsys):
    images, labels = folders(tmp_path / "source", ["a1", "b1", "c1", "d"])
    (labels / "a1.png").unlink()
    (images / "b1.png").unlink()
    options = (*LIKE, "--group-pattern", r"\d")
    assert convert("folders", images, labels, tmp_path / "root", *options) == 1
    assert list(rows(tmp_path / "root")) == ["mine-c1"]
    errors = capsys.readouterr().err.splitlines()
    assert "a1.png: no label image; wanted a1, alone or with _label or _mask" in errors[0]
    assert "d.png: its stem has no match for the group pattern" in errors[1]
    assert "b1.png: a label without an image" in errors[2]
