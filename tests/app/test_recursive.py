"""Folders in folders: each image gets its label image in a folder of the same name."""

import os
import shutil

import pytest

from app.files.folder import describe_passed, list_folder
from tests.app.command_line import labels, outputs, picture, report, run, run_in, write


@pytest.fixture
def tree(folder):
    for level, name in enumerate(("b.png", "one/a.png", "one/deep/a.png", "two/a.tif")):
        (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / "in" / name, picture(100 + level))
    return folder


def names(folder):
    listing = list_folder(folder / "in", recursive=True, output=folder / "out")
    return [path.relative_to(folder / "in").as_posix() for path in listing.images]


def test_the_output_has_the_folders_of_the_input(tree):
    assert run_in(tree, "--recursive") == 0
    out = tree / "out"
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.tiff")) == [
        "b_label.tiff",
        "one/a_label.tiff",
        "one/deep/a_label.tiff",
        "two/a_label.tiff",
    ]
    whole, images = report(tree)
    assert sorted(images) == ["b.png", "one/a.png", "one/deep/a.png", "two/a.tif"]
    assert images["one/deep/a.png"]["label"] == "one/deep/a_label.tiff" and whole["done"] == 4
    assert run(tree / "in" / "one" / "deep", tree / "alone") == 0
    alone = (tree / "alone" / "a_label.tiff").read_bytes()
    assert (out / "one" / "deep" / "a_label.tiff").read_bytes() == alone


def test_resume_knows_them_by_their_folders(tree, capsys):
    assert run_in(tree, "--recursive") == 0
    (tree / "out" / "one" / "a_label.tiff").unlink()
    assert run_in(tree, "--recursive", "--resume") == 0
    assert "3 settled already" in capsys.readouterr().err
    assert (tree / "out" / "one" / "a_label.tiff").exists()


def test_without_it_they_are_passed_over_by_name(tree, capsys):
    assert run_in(tree) == 0
    told = capsys.readouterr().err
    assert "2 folders in it are not searched (--recursive does that): one, two" in told
    assert list(labels(tree)) == ["b_label.tiff"]


def test_order_hidden_folders_and_zarrs(tree):
    for name in (".hidden/a.png", "slide.zarr/0/a.png"):
        (tree / "in" / name).parent.mkdir(parents=True)
        write(tree / "in" / name)
    (tree / "in" / "slide.zarr" / ".zattrs").write_text("{}")
    assert names(tree) == ["b.png", "one/a.png", "one/deep/a.png", "two/a.tif"]
    (line,) = describe_passed(list_folder(tree / "in", recursive=True))
    assert line.startswith("OME-Zarr is not supported: slide.zarr;")


def test_links_lead_into_each_folder_once(tree, capsys):
    (tree / "in" / "one" / "loop").symlink_to(tree / "in")
    (tree / "in" / "zwei").symlink_to(tree / "in" / "two")
    shutil.move(tree / "in" / "two", tree / "elsewhere")
    (tree / "in" / "two").symlink_to(tree / "elsewhere")
    assert names(tree) == ["b.png", "one/a.png", "one/deep/a.png", "two/a.tif"]
    assert run_in(tree, "--recursive") == 0
    told = capsys.readouterr().err
    assert "2 folders were searched by another name already: one/loop, zwei" in told


def test_output_folders_are_not_searched_and_that_is_told(tree, capsys):
    out = tree / "in" / "labels"
    for _ in range(2):
        assert run(tree / "in", out, "--recursive") == 0
    assert "1 folder of outputs is not searched: labels" in capsys.readouterr().err
    assert outputs(out) == ["b_label.tiff", "one", "run.json", "two"]
    assert run_in(tree, "--recursive") == 0  # labels is that of an earlier run now
    assert "1 folder of outputs is not searched: labels" in capsys.readouterr().err
    assert report(tree)[0]["done"] == 4


def test_a_folder_that_cannot_be_read_is_an_error_and_costs_no_other(tree, capsys, monkeypatch):
    real = os.scandir

    def refuse(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may read all
    assert run_in(tree, "--recursive") == 1
    assert "one/deep: can't be read (Permission denied); make it" in capsys.readouterr().err
    assert report(tree)[0]["done"] == 3


def test_names_that_clash_do_so_within_a_folder(tree, capsys):
    write(tree / "in" / "one" / "a.bmp", picture(90))
    assert run_in(tree, "--recursive") == 1
    assert capsys.readouterr().err.count("a.bmp and a.png would both be written to") == 2
    whole, images = report(tree)
    assert (whole["done"], whole["failed"]) == (3, 2)
    assert images["one/a.bmp"]["status"] == "failed" and images["two/a.tif"]["status"] == "done"
