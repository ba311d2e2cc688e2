"""The table of sources of a model card."""

import csv

import numpy as np
import pytest
import tifffile

from training.report.sources import main, shorten

COLUMNS = ("name", "image", "source", "modality", "split", "instances", "licence")


@pytest.fixture
def data(tmp_path):
    """Five images of two sources, one square cell in each; folders of what was found."""
    labels = tmp_path / "data" / "Train_Labeled" / "labels"
    folders = {split: tmp_path / split for split in ("val", "probe")}
    for folder in (labels, *folders.values()):
        folder.mkdir(parents=True)
    rows = [
        ("a", "one", "PC", "train", 1200),
        ("b", "one", "BF", "train", 34),
        ("c", "one", "PC", "val", 1),
        ("d", "one", "PC", "val", 1),
        ("e", "two", "DIC", "probe", 1),
    ]
    cell = np.zeros((20, 20), np.uint16)
    cell[5:12, 5:12] = 1
    with (tmp_path / "data" / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for name, source, modality, split, cells in rows:
            writer.writerow((name, f"{name}.png", source, modality, split, cells, "MIT"))
            tifffile.imwrite(labels / f"{name}_label.tiff", cell)
            if split in folders:
                found = cell if name != "d" else np.zeros_like(cell)
                tifffile.imwrite(folders[split] / f"{name}_label.tiff", found)
    return tmp_path


def test_a_row_for_each_source(data, capsys):
    assert main([str(data / "data"), str(data / "val"), str(data / "probe")]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| `one` | BF, PC | 2, 1,234 | 0.500 (2) |  | MIT |",
        "| `two` | DIC |  |  | 1.000 (1) | MIT |",
    ]


def test_a_missing_prediction_is_named(data, capsys):
    (data / "val" / "c_label.tiff").unlink()
    with pytest.raises(SystemExit) as stopped:
        main([str(data / "data"), str(data / "val"), str(data / "probe")])
    assert stopped.value.code == 2
    assert "c_label.tiff" in capsys.readouterr().err


def test_a_long_licence_ends_at_a_word():
    assert shorten("word " * 24) == "word " * 24
    assert shorten("word, " * 40) == ("word, " * 20).rstrip(" ,") + " …"
